"""Errors of actions that the state of a plan does not allow, with the command for the next step."""

from __future__ import annotations

from flagstaff._words.text import Text, marked
from flagstaff.changes.changed import quoted_command
from flagstaff.exceptions import PlanError
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State

_STATES = {
    "pending": marked("pending"),
    "running": marked("running"),
    "holding": marked("holding"),
    "paused": marked("paused"),
    "done": marked("done"),
    "rolled_back": marked("rolled back"),
}
_EXISTS = marked(
    "{key} has a rollout plan already, which is {state}; delete it before you create another: "
    "{command}"
)
_EXISTS_AND_RUNS = marked(
    "{key} has a rollout plan already, which is {state}; pause it and delete it before you create "
    "another: {command}"
)
_WRONG_STATE = {
    "start": marked(
        "the rollout plan of {key} is {state} and cannot be started; possible next: {command}"
    ),
    "pause": marked(
        "the rollout plan of {key} is {state} and cannot be paused; possible next: {command}"
    ),
    "resume": marked(
        "the rollout plan of {key} is {state} and cannot be resumed; possible next: {command}"
    ),
    "rollback": marked(
        "the rollout plan of {key} is {state} and cannot be rolled back; possible next: {command}"
    ),
    "delete": marked(
        "the rollout plan of {key} is {state} and cannot be deleted; possible next: {command}"
    ),
}

_NEXT: dict[str, str] = {
    State.PENDING: "start",
    State.RUNNING: "show",
    State.HOLDING: "show",
    State.PAUSED: "resume",
    State.DONE: "show",
    State.ROLLED_BACK: "resume",
}


def plan_command(key: str, action: str) -> str:
    """Returns the command for an action on the plan of a flag, in quotation marks."""
    return quoted_command("plan", action, key)


def state_text(state: str) -> str:
    """Returns the name of a state. SQL may have written an unknown one."""
    return Text(_STATES[state]) if state in _STATES else state


def exists_already(plan: Plan) -> PlanError:
    """Returns the error of a second plan while this one has not ended."""
    runs = plan.state in WATCHED_STATES
    template = _EXISTS_AND_RUNS if runs else _EXISTS
    state, command = state_text(plan.state), plan_command(plan.key, "delete")
    return PlanError(Text(template, key=plan.key, state=state, command=command))


def wrong_state(plan: Plan, action: str) -> PlanError:
    """Returns the error of an action, such as "pause", that a plan in this state does not allow."""
    template, state = _WRONG_STATE[action], state_text(plan.state)
    command = _possible_next(plan, action)
    return PlanError(Text(template, key=plan.key, state=state, command=command))


def _possible_next(plan: Plan, action: str) -> str:
    if action == "delete":
        return plan_command(plan.key, "pause")
    # In an incident, no hint may give the flag to more users.
    if action == "rollback" and plan.state != State.ROLLED_BACK:
        return quoted_command("off", plan.key)
    # SQL may have written another state.
    following = _NEXT.get(plan.state, "delete")
    is_safe = following in {"show", "delete"} or action not in {"pause", "rollback"}
    return plan_command(plan.key, following if is_safe else "show")
