"""The jobs of `run-jobs`: it drives the plans, and deletes what they no longer need."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from flagstaff._tables.database import db
from flagstaff._text.cells import Column, Record
from flagstaff.extensions import Job, Retention
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import FailedNetwork, PlanEvent

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
