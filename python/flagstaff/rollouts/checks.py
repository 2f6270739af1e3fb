"""The system checks of rollout plans."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004

from flagstaff._text.lists import join_some
from flagstaff.changes.changed import quoted_command
from flagstaff.checks.app_tables import AppTable
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.unguarded import unguarded_plans

__all__ = ["check_plans"]

#: flagstaff.W043: the trigger of the plans is missing or disabled.
_TABLE = AppTable(Plan, "rollout plans", "flagstaff_rollouts 0001_initial", id="flagstaff.W043")


def check_plans(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Runs the checks that query the flags' database, if it is selected and can be reached."""
    return _TABLE.check(databases, _unguarded)


def _unguarded() -> Iterator[CheckMessage]:
    """flagstaff.W044: plans are running, and run-jobs is not."""
    keys = [plan.key for plan in unguarded_plans()]
    if keys:
        yield Warning(
            f"rollout plans are unguarded, because run-jobs has not driven them in the last "
            f"5 minutes: {join_some(keys)}",
            hint=f"start {quoted_command('run-jobs', '--loop')} or repair its cron job; to stop a "
            f"plan, run {quoted_command('plan', 'KEY', 'pause')}",
            id="flagstaff.W044",
        )
