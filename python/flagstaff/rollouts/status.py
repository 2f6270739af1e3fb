"""A plan as a record for people and programs: its state, its evidence and its events."""

from __future__ import annotations

from typing import Any

from flagstaff._tables.rows import FlagRow
from flagstaff._words.cells import Column, Record
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.evidence import verdict_of
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, PlanEvent, State, StepRun, state_text
from flagstaff.rollouts.steps import steps_from_json

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
    flag = plan.flag
    return {
        **plan_summary(plan),
        "percent": plan.percent,
        "rollout": None if flag is None else flag.rollout_percent,
        "enabled": None if flag is None else flag.enabled,
        "rollout_differs": rollout_difference(plan, flag),
        "guards": plan.guards,
        "required_users": plan.required_users,
        "ignore_releases": plan.ignore_releases,
        "actor": plan.actor or None,
        "evidence": _present_evidence(plan),
        "events": [_event(event) for event in _events(plan)],
    }


def plan_summary(plan: Plan) -> dict[str, Any]:
    """Returns what a list says about a plan. Makes no query."""
    return {
        "key": plan.key,
        "state": plan.state,
        "reason": plan.reason or None,
        "reason_kind": plan.reason_kind or None,
        "unguarded": plan.is_unguarded,
        "needs_attention": plan.reason_kind != "",
        "step": None if plan.step is None else plan.step + 1,
        "steps": plan.steps,
        "due_at": plan.due_at,
    }


def rollout_difference(plan: Plan, flag: FlagRow | None) -> Text | None:
    """Returns where flag and plan are; None if the flag has the rollout of the present step."""
    percent = plan.percent
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


def newest_texts(record: Record) -> list[str]:
    """Returns the text of the newest event of a record, after that of a flag turned on."""
    events = record["events"][-2:]
    newest = events if events[0]["kind"] == PlanEvent.Kind.ENABLED else events[-1:]
    return [one["text"] for one in newest]


def _events(plan: Plan) -> list[PlanEvent]:
    return [*PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("id")]


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
    run = StepRun.objects.using(conf.database).filter(pk=plan.run_id or 0).first()
    if plan.step is None or run is None:
        return None
    try:
        verdict = verdict_of(plan, run)
    except InvalidPlanError as error:
        # A person must be able to stop a plan that cannot be read.
        return {"why": str(error)}
    return {"why": str(verdict.why), **verdict.figures()}
