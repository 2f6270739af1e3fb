"""What the core of flagstaff reads and calls of rollout plans: jobs, a check, and users that go."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error

from flagstaff._tables.database import db
from flagstaff._tables.user_lookup import forget_actor
from flagstaff._text import some
from flagstaff._text.times import Column, Record
from flagstaff.changes.fields import quoted_command
from flagstaff.extensions import Job, Retention
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import FailedNetwork, Plan, PlanEvent
from flagstaff.rollouts.transitions import with_flags


def forget_user(pk: str) -> None:
    """Removes a deleted user as the actor of plans and their events."""
    for model in (Plan, PlanEvent):
        forget_actor(model._base_manager.using(db.alias), pk)


def planned_flags() -> Collection[str]:
    """Returns the primary keys of flags with an active plan. Makes one query."""
    return list(Plan.objects.active().order_by().values_list("flag_pk", flat=True))


def check_plans() -> list[CheckMessage]:
    """Reports that plans are running, and run-jobs is not. Queries the flags' database."""
    try:
        with db.atomic():
            plans = with_flags(Plan.objects.unguarded().order_by("key"))
            # What somebody else has changed is paused, and needs no guard.
            keys = [plan.key for plan in plans if plan.is_unguarded]
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


_STOPPED = {PlanEvent.Kind.TRIPPED, PlanEvent.Kind.PAUSED, PlanEvent.Kind.HELD}


def _style(record: Record) -> str | None:
    return "WARNING" if record["error"] or record["event"] in _STOPPED else None


PLANS = Job(
    name="plans",
    run=lambda stop: run_plans(stop=stop),
    columns=(
        Column("plan"),
        Column("state"),
        Column("event", style=_style),
        Column("text", truncate=True),
        Column("error", truncate=True, style=_style),
    ),
)


# A plan never measures again in a run that has ended, but a late worker may still write for it.
_NETWORK_DAYS = 1

# The rows that one transaction deletes.
_BATCH = 5_000


def prune_networks_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the networks of runs that ended before a time, and yields the number of each batch.

    Each batch is committed: a caller may stop between two batches.
    """
    networks = db.rows(FailedNetwork)
    batch = networks.filter(run__ended_at__lt=before).values("pk")[:_BATCH]
    deleted = _BATCH
    while deleted == _BATCH:
        deleted, _tables = networks.filter(pk__in=batch).delete()
        yield deleted


def retention() -> Retention:
    """Returns how long the networks of ended runs are kept."""
    return Retention("networks", _NETWORK_DAYS, prune_networks_in_batches, by_setting=False)
