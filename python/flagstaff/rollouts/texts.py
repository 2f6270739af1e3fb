"""A rollout plan in words: its state, its step, and why it is there."""

from __future__ import annotations

from django.utils.formats import number_format

from flagstaff._text import localized, say
from flagstaff._text.times import local_time_text
from flagstaff.rollouts.guards import FUNCTION, Guard, guard_name
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import rollout_difference

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
