"""A plan as a record and in words: its state, its step, its evidence and its events."""

from __future__ import annotations

from typing import Any

from django.utils.formats import number_format

from flagstaff._tables.database import db
from flagstaff._text import Sentence, localized, say
from flagstaff._text.times import Column, Record, local_time_text
from flagstaff.rollouts.evidence import verdict_of
from flagstaff.rollouts.models import Plan, PlanEvent, State, StepRun
from flagstaff.rollouts.steps_and_guards import FUNCTION, Guard, guard_name
from flagstaff.rollouts.transitions import with_flags


def _steps(record: Record) -> str:
    steps, present = [*record["steps"]], record["step"]
    if present is not None:
        steps[present - 1] = f"[{steps[present - 1]}]"
    return " ".join(steps)


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
    Column("steps", _steps, is_text=True),
    Column("due_at"),
)
PLAN_COLUMNS = (
    *LIST_COLUMNS[:5],
    Column("rollout", _rollout),
    *LIST_COLUMNS[5:],
    Column("guards", lambda record: " ".join(record["guards"]) or "none", is_text=True),
    Column("required_users"),
    Column("compare"),
    Column("ignore_releases"),
    Column("evidence", lambda record: str((record["evidence"] or {}).get("why", "")), is_text=True),
)
EVENT_COLUMNS = (Column("at"), Column("kind"), Column("actor"), Column("text", truncate=True))


def plan_record(plan: Plan) -> dict[str, Any]:
    """Returns a plan as a dict for JSON. Makes a few queries.

    A plan that cannot be read has no steps and guards, and the problem as its reason.
    """
    [plan] = with_flags([plan])
    flag = plan.flag
    events = db.rows(PlanEvent).filter(plan=plan).order_by("id")
    return {
        **plan_summary(plan),
        "percent": plan.percent,
        "rollout": None if flag is None else flag.rollout_percent,
        "enabled": None if flag is None else flag.enabled,
        "rollout_differs": rollout_difference(plan),
        "guards": [] if plan.problem else plan.guards,
        "required_users": plan.required_users,
        "compare": plan.compare or None,
        "ignore_releases": plan.ignore_releases,
        "actor": plan.actor or None,
        "evidence": evidence_of(plan),
        "events": [
            {
                "at": event.at,
                "kind": event.kind,
                "actor": event.actor or None,
                "text": event.message,
                "figures": event.figures,
            }
            for event in events
        ],
    }


def plan_summary(plan: Plan) -> dict[str, Any]:
    """Returns what a list says about a plan that has its flag. Makes no query."""
    steps, index = ([], None) if plan.problem else (plan.steps, plan.step)
    return {
        "key": plan.key,
        "state": plan.state,
        "reason": plan.problem or plan.reason or None,
        "unguarded": plan.is_unguarded,
        "needs_attention": plan.needs_attention,
        "step": None if index is None else index + 1,
        "steps": steps,
        "due_at": plan.due_at,
    }


def rollout_difference(plan: Plan) -> Sentence | None:
    """Returns where flag and plan are; None if the flag has the rollout of the present step.

    A plan that was rolled back has let go of its flag.
    """
    flag, percent = plan.flag, plan.percent
    if flag is None or percent is None or plan.state == State.ROLLED_BACK:
        return None
    if not flag.enabled:
        return say("flag is off, plan at {percent} %", percent=percent)
    rollout = flag.rollout_percent
    if rollout == percent:
        return None
    return say("flag is at {rollout} %, plan at {percent} %", rollout=rollout, percent=percent)


def evidence_of(plan: Plan) -> dict[str, Any] | None:
    """Returns the figures of the newest run, or those at a trip.

    None before the start, and of a run of a plan that cannot be read.
    Reports that come later change the counts of a run. While the plan measures, `why` says what
    follows from the figures. Makes up to seven queries.
    """
    if plan.trip_figures:
        return {"why": plan.trip_reason, **plan.trip_figures}
    if plan.problem:
        return None
    runs = db.rows(StepRun).filter(plan=plan).exclude(step=None)
    run = runs.last()
    if run is None:
        return None
    verdict = verdict_of(plan, run)
    return {"why": "" if plan.run_id is None else verdict.why, **verdict.figures()}


# In words.

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"


def state_name(plan: Plan) -> tuple[str, str]:
    """Returns the state and its name; that nothing guards the plan, if that is so."""
    if plan.is_unguarded:
        return "unguarded", say("unguarded").local
    return plan.state, str(State(plan.state).label)


def state_sentence(plan: Plan) -> str:
    """Returns the step, the reason of the state, and where the flag is if it differs."""
    text, values = "", dict[str, object]()
    if plan.problem:
        text = localized(plan.problem)
    elif plan.step is None:
        text = say("Not started: the workers measure, and the rollout stays as it is").local
    else:
        text, steps = say("Step {step} of {steps}, {percent} %"), plan.read_steps()
        values = {"step": plan.step + 1, "steps": len(steps), "percent": plan.percent}
        if plan.state == State.ROLLED_BACK:
            text = say("Step {step} of {steps}, {percent} → 0 %")
        if plan.due_at is not None and plan.due_at > plan.now:
            text = say("Step {step} of {steps}, {percent} %, until {time} or later")
            values["time"] = local_time_text(plan.due_at)
    # What a guard has found says more than that it has rolled back.
    reasons = [
        plan.trip_reason or localized(plan.reason),
        localized(rollout_difference(plan) or ""),
    ]
    if plan.is_unguarded:
        reasons.append(say("no guard can stop it, because run-jobs does not watch the plan").local)
    sentence = say(text, **values).local if values else text
    for reason in filter(None, reasons):
        sentence = say("{state} — {reason}", state=sentence, reason=reason).local
    return say("{sentence}.", sentence=sentence).local


def guard_text(guard: Guard) -> str:
    """Returns all that a guard is, such as "latency over 0.5 s, rolls back, limit 2"."""
    return ", ".join([localized(guard_name(guard)), guard_options(guard)])


def guard_options(guard: Guard) -> str:
    """Returns what a guard does on a trip, and its limit."""
    action = say("holds the plan").local if guard.action == "hold" else say("rolls back").local
    if guard.kind == FUNCTION:
        return action
    limit = say("limit {limit}", limit=number_format(f"{guard.limit:g}", use_l10n=True)).local
    return f"{action}, {limit}"
