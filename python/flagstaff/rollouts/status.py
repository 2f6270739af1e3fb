"""A plan as a record for people and programs: its state, its evidence and its events."""

from __future__ import annotations

from typing import Any

from flagstaff._words.cells import Column, Record
from flagstaff._words.message import to_json
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.advance import figures_of
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.forecast import forecast, traffic_of
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import WATCHED_STATES, Plan, PlanEvent, State, StepRun
from flagstaff.rollouts.steps import steps_from_json
from flagstaff.rollouts.transitions import steps_of
from flagstaff.rollouts.unguarded import is_unguarded
from flagstaff.rollouts.verdict import judge

_INVALID = "not valid"


def _steps(record: Record) -> str:
    try:
        parts = [f"{step.percent} %" for step in steps_from_json(record["steps"])]
    except InvalidPlanError:
        return _INVALID
    present = record["step"]
    if present is not None and present <= len(parts):
        parts[present - 1] = f"[{parts[present - 1]}]"
    return " ".join(parts)


def _guards(record: Record) -> str:
    try:
        return " ".join(map(str, guards_from_json(record["guards"]))) or "none"
    except InvalidPlanError:
        return _INVALID


def _evidence(record: Record) -> str:
    return _text((record["evidence"] or {}).get("why"))


def _reason(record: Record) -> str:
    return _text(record["reason"])


def _text(message: Record | None) -> str:
    return str(message["text"]) if message else ""


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["unguarded"] or record["state"] != State.RUNNING else None


PLAN_COLUMNS = (
    Column("key"),
    Column("state", style=_state_style),
    Column("reason", _reason),
    Column("unguarded"),
    Column("steps", _steps),
    Column("due_at"),
    Column("starts_at"),
    Column("guards", _guards),
    Column("required_users"),
    Column("evidence", _evidence),
)
EVENT_COLUMNS = (Column("at"), Column("kind"), Column("actor"), Column("text", truncate=True))


def plan_record(plan: Plan) -> dict[str, Any]:
    """Returns a plan as a dict for JSON. Makes a few queries."""
    return {
        "key": plan.key,
        "state": plan.state,
        "reason": to_json(plan.reason) if plan.reason else None,
        "unguarded": _is_unguarded(plan),
        "step": None if plan.step is None else plan.step + 1,
        "steps": plan.steps,
        "due_at": plan.due_at,
        "starts_at": plan.starts_at,
        "guards": plan.guards,
        "required_users": plan.required_users,
        "actor": plan.actor or None,
        "evidence": _present_evidence(plan),
        "forecast": forecast_lines(plan),
        "events": [_event(event) for event in _events(plan)],
    }


def forecast_lines(plan: Plan) -> list[str]:
    """Returns a sentence for each step of a plan that has not started: what the step can see.

    Makes a few queries. Returns nothing for a plan that has started, or that measures nothing.
    """
    run = _present_run(plan) if plan.step is None else None
    if run is None:
        return []
    now = database_now()
    traffic = traffic_of(read_evidence(run, now), (now - run.started_at).total_seconds())
    if not traffic.users_per_hour:
        return [
            "No user was counted yet, so there is no forecast. It needs requests with the flag."
        ]
    try:
        steps, guards = steps_of(plan), guards_from_json(plan.guards)
    except InvalidPlanError as error:
        return [str(error)]
    return [one.text for one in forecast(steps, guards, traffic, plan.required_users)]


def newest_event(plan: Plan) -> PlanEvent | None:
    """Returns the newest event of a plan."""
    return PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("id").last()


def _events(plan: Plan) -> list[PlanEvent]:
    return list(PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("id"))


def _event(event: PlanEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "kind": event.kind,
        "actor": event.actor or None,
        **to_json(event.message),
        "figures": event.figures,
    }


def _present_evidence(plan: Plan) -> dict[str, Any] | None:
    """Returns the figures of the present run, and what follows from them; None without a run."""
    if plan.step is None or (run := _present_run(plan)) is None:
        return None
    evidence = read_evidence(run, database_now())
    try:
        steps, guards = steps_of(plan), guards_from_json(plan.guards)
    except InvalidPlanError as error:
        # A person must be able to stop a plan that cannot be read.
        return {"why": to_json(error.message)}
    return figures_of(evidence, judge(steps, plan.step, guards, evidence, plan.required_users))


def _is_unguarded(plan: Plan) -> bool:
    # SQLite has no such clock, and no plan starts there.
    return plan.state in WATCHED_STATES and is_unguarded(plan, database_now())


def _present_run(plan: Plan) -> StepRun | None:
    """Returns the run that workers count for; None without one."""
    return StepRun.objects.using(conf.database).filter(pk=plan.run_id or 0).first()
