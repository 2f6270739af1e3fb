"""The system check of rollout plans."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error

from flagstaff._tables.database import db
from flagstaff._text import some
from flagstaff.changes.changed import quoted_command
from flagstaff.rollouts.models import Plan


def check_plans() -> list[CheckMessage]:
    """Reports that plans are running, and run-jobs is not. Queries the flags' database."""
    try:
        with db.atomic():
            keys = [*Plan.objects.unguarded().order_by("key").values_list("key", flat=True)]
    except Error:  # W013 reports a missing table
        return []
    if not keys:
        return []
    return [
        Warning(
            "rollout plans are unguarded, because run-jobs has not driven them in the last "
            f"5 minutes: {some(keys)}",
            hint=f"start {quoted_command('run-jobs', '--loop')} or repair its cron job; to stop a "
            f"plan, run {quoted_command('plan', 'pause', 'KEY')}",
            id="flagstaff.W044",
        )
    ]
