"""The system checks of rollout plans."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from django.core.checks import CheckMessage

from flagstaff._words.text import some
from flagstaff.changes.changed import quoted_command
from flagstaff.checks.app_tables import app_messages, unwatched_table
from flagstaff.checks.check import Check, Problem
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.unguarded import unguarded_plans


def _unguarded() -> Iterator[Problem]:
    """Yields that plans are running, and run-jobs is not."""
    keys = [plan.key for plan in unguarded_plans()]
    if keys:
        yield Problem(
            f"rollout plans are unguarded, because run-jobs has not driven them in the last "
            f"5 minutes: {some(keys)}"
        )


_CHECKS = (
    Check("flagstaff.W043", partial(unwatched_table, Plan, "rollout plans")),
    Check(
        "flagstaff.W044",
        _unguarded,
        f"start {quoted_command('run-jobs', '--loop')} or repair its cron job; to stop a plan, run "
        f"{quoted_command('plan', 'KEY', 'pause')}",
    ),
)


def check_plans(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Runs the checks that query the flags' database, if it is selected and can be reached."""
    return app_messages(Plan, _CHECKS, databases)
