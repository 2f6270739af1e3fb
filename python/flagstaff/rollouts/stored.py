"""Whether what a plan has stored can be read: SQL can write anything."""

from __future__ import annotations

from flagstaff._words.text import Text
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.transitions import steps_of


def problem_of_plan(plan: Plan) -> str | None:
    """Returns why the steps, the guards or the state cannot be read, or None. Makes no query."""
    if plan.state not in State.values:
        return Text("the plan has the unknown state {value}; delete the plan", value=plan.state)
    try:
        steps_of(plan)
        guards_from_json(plan.guards)
    except InvalidPlanError as error:
        return error.message
    return None
