"""The job of `run-jobs` that drives the plans."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

from flagstaff._extensions import Job
from flagstaff._words.cells import Column, Record
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent
from flagstaff.rollouts.reports import PlanReport

_STOPPED = {PlanEvent.Kind.TRIPPED, PlanEvent.Kind.PAUSED, PlanEvent.Kind.HELD}


def _style(record: Record) -> str | None:
    return "WARNING" if record["error"] or record["event"] in _STOPPED else None


def _step(record: Record) -> str:
    return f"{record['step'] or '-'}/{record['steps']}"


def _percent(record: Record) -> str:
    return "" if record["percent"] is None else f"{record['percent']} %"


def _run(stop: Event) -> Sequence[PlanReport]:
    return run_plans(stop=stop)


PLANS = Job(
    name="plans",
    run=_run,
    columns=(
        Column("plan"),
        Column("state"),
        Column("step", _step, align_right=True),
        Column("percent", _percent, header="ROLLOUT", align_right=True),
        Column("event", style=_style),
        Column("text", truncate=True),
        Column("error", truncate=True, style=_style),
    ),
)
