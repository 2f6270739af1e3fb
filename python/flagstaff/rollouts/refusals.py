"""Errors of actions that the state of a plan does not allow, with the command for the next step."""

from __future__ import annotations

from flagstaff.changes.changed import quoted_command
from flagstaff.exceptions import PlanError
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State

_REFUSED = {
    "start": "cannot be started",
    "pause": "cannot be paused",
    "resume": "cannot be resumed",
    "jump": "cannot jump",
    "rollback": "cannot be rolled back",
    "delete": "cannot be deleted",
}
_NEXT: dict[str, str] = {
    State.PENDING: "start",
    State.RUNNING: "status",
    State.HOLDING: "status",
    State.PAUSED: "resume",
    State.DONE: "status",
    State.ROLLED_BACK: "resume",
}


def plan_command(key: str, action: str) -> str:
    """Returns the command for an action on the plan of a flag, in quotation marks."""
    return quoted_command("plan", key, action)


def exists_already(plan: Plan) -> PlanError:
    """Returns the error of a second plan while this one has not ended."""
    before = "pause it and " if plan.state in WATCHED_STATES else ""
    return PlanError(
        f"{plan.key} has a rollout plan already, which is {plan.state}; {before}delete it before "
        f"you create another: {plan_command(plan.key, 'delete')}"
    )


def wrong_state(plan: Plan, action: str) -> PlanError:
    """Returns the error of an action, such as "jump", that a plan in this state does not allow."""
    return PlanError(
        f"the rollout plan of {plan.key} is {plan.state.replace('_', ' ')} and "
        f"{_REFUSED[action]}; possible next: {_possible_next(plan, action)}"
    )


def _possible_next(plan: Plan, action: str) -> str:
    if action == "delete":
        return plan_command(plan.key, "pause")
    # In an incident, no hint may give the flag to more users.
    if action == "rollback" and plan.state != State.ROLLED_BACK:
        return quoted_command("off", plan.key)
    # SQL may have written another state.
    following = _NEXT.get(plan.state, "delete")
    is_safe = following in {"status", "delete"} or action not in {"pause", "rollback"}
    return plan_command(plan.key, following if is_safe else "status")
