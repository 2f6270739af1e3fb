"""The jobs of `run-jobs`: it drives the plans, and deletes what they no longer need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from threading import Event

from django.db import connections

from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._words.cells import Column, Record
from flagstaff.conf import conf
from flagstaff.extensions import Job, Retention
from flagstaff.rollouts.advance import PlanReport
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent

_STOPPED = {PlanEvent.Kind.TRIPPED, PlanEvent.Kind.PAUSED, PlanEvent.Kind.HELD}


def _style(record: Record) -> str | None:
    return "WARNING" if record["error"] or record["event"] in _STOPPED else None


def _run(stop: Event) -> Sequence[PlanReport]:
    return run_plans(stop=stop)


PLANS = Job(
    name="plans",
    run=_run,
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
    connection = connections[conf.database]
    statement = fill(sql("prune_networks_v1", "flagstaff.rollouts"), optional_names(connection))
    return delete_in_batches(connection, statement, {"before": before}, _BATCH)


def retention() -> Retention:
    """Returns how long the networks of ended runs are kept."""
    return Retention("networks", _NETWORK_DAYS, prune_networks_in_batches, by_setting=False)
