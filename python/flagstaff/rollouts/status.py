"""A plan as a record for people and programs: its state, its evidence and its events."""

from __future__ import annotations

from typing import Any, cast

from flagstaff._tables.rows import FlagRow, find_row
from flagstaff._words.cells import Column, Record
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.attention import needs_attention
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import (
    WATCHED_STATES,
    Plan,
    PlanEvent,
    ReasonKind,
    State,
    StepRun,
    state_text,
)
from flagstaff.rollouts.results import figures_of
from flagstaff.rollouts.steps import steps_from_json
from flagstaff.rollouts.stored import steps_of
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
    return str((record["evidence"] or {}).get("why", ""))


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["unguarded"] or record["state"] != State.RUNNING else None


def _rollout(record: Record) -> str:
    if record["rollout_differs"]:
        return str(record["rollout_differs"])
    return "" if record["rollout"] is None else f"{record['rollout']} %"


LIST_COLUMNS = (
    Column("key"),
    Column("state", style=_state_style),
    Column("reason"),
    Column("unguarded"),
    Column("steps", _steps),
    Column("due_at"),
)
PLAN_COLUMNS = (
    *LIST_COLUMNS[:5],
    Column("rollout", _rollout),
    *LIST_COLUMNS[5:],
    Column("guards", _guards),
    Column("required_users"),
    Column("ignore_releases"),
    Column("evidence", _evidence),
)
EVENT_COLUMNS = (Column("at"), Column("kind"), Column("actor"), Column("text", truncate=True))


def plan_record(plan: Plan) -> dict[str, Any]:
    """Returns a plan as a dict for JSON. Makes a few queries."""
    flag = flag_of_plan(plan)
    differs = rollout_difference(plan, flag)
    return {
        **plan_summary(plan, unguarded=_is_unguarded(plan)),
        "percent": plan_percent(plan),
        "rollout": None if flag is None else flag.rollout_percent,
        "enabled": None if flag is None else flag.enabled,
        "rollout_differs": differs,
        "failed_at_trip": _failed_at_trip(plan),
        "guards": plan.guards,
        "required_users": plan.required_users,
        "ignore_releases": plan.ignore_releases,
        "actor": plan.actor or None,
        "evidence": _present_evidence(plan),
        "events": [_event(event) for event in _events(plan)],
    }


def plan_summary(plan: Plan, *, unguarded: bool) -> dict[str, Any]:
    """Returns what a list says about a plan. Makes no query."""
    return {
        "key": plan.key,
        "state": plan.state,
        "reason": plan.reason or None,
        "reason_kind": plan.reason_kind or None,
        "unguarded": unguarded,
        "needs_attention": needs_attention(plan),
        "step": None if plan.step is None else plan.step + 1,
        "steps": plan.steps,
        "due_at": plan.due_at,
    }


def flag_of_plan(plan: Plan) -> FlagRow | None:
    """Returns the flag of a plan, or None if it was deleted, or created again. One query."""
    flag = cast("FlagRow | None", find_row(conf.flag_model, plan.key))
    return flag if flag is not None and str(flag.pk) == plan.flag_pk else None


def plan_percent(plan: Plan) -> int | None:
    """Returns the percentage of the present step; None before the start, or if it is not valid."""
    try:
        return None if plan.step is None else steps_of(plan)[plan.step].percent
    except InvalidPlanError:
        return None


def rollout_difference(plan: Plan, flag: FlagRow | None) -> Text | None:
    """Returns where flag and plan are; None if the flag has the rollout of the present step."""
    percent = plan_percent(plan)
    if flag is None or percent is None:
        return None
    state = state_text(plan.state)
    if not flag.enabled:
        return Text("flag is off, plan {state} at {percent} %", state=state, percent=percent)
    if flag.rollout_percent == percent:
        return None
    rollout = flag.rollout_percent
    return Text(
        "flag is at {rollout} %, plan {state} at {percent} %",
        rollout=rollout,
        state=state,
        percent=percent,
    )


def _failed_at_trip(plan: Plan) -> list[dict[str, Any]] | None:
    """Returns the failing users by guard at a trip after which the plan has not continued."""
    if plan.reason_kind != ReasonKind.TRIPPED:
        return None
    return [
        {"name": guard["name"], **{side: guard["failed"][side] for side in ("inside", "outside")}}
        for guard in (plan.trip_figures or {}).get("guards", ())
    ]


def newest_events(plan: Plan) -> list[PlanEvent]:
    """Returns the newest event of a plan, after that of a flag that it has turned on."""
    found = PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("-id")[:2]
    events = [*reversed(found)]
    return events if events and events[0].kind == PlanEvent.Kind.ENABLED else events[-1:]


def _events(plan: Plan) -> list[PlanEvent]:
    return list(PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("id"))


def _event(event: PlanEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "kind": event.kind,
        "actor": event.actor or None,
        "text": event.message,
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
        return {"why": str(error)}
    verdict = judge(steps, plan.step, guards, evidence, plan.required_users, run.number)
    return {"why": str(verdict.why), **figures_of(evidence, verdict)}


def _is_unguarded(plan: Plan) -> bool:
    # SQLite has no such clock, and no plan starts there.
    return plan.state in WATCHED_STATES and is_unguarded(plan, database_now())


def _present_run(plan: Plan) -> StepRun | None:
    """Returns the run that workers count for; None without one."""
    return StepRun.objects.using(conf.database).filter(pk=plan.run_id or 0).first()
