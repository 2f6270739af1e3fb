"""What a plan has stored, and whether it can be read: SQL can write anything."""

from __future__ import annotations

from flagstaff._words.text import Text
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.steps import Step, steps_from_json


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """Returns the steps of a plan. Raises InvalidPlanError if its row is not valid."""
    steps = steps_from_json(plan.steps)
    if plan.step is not None and plan.step >= len(steps):
        raise InvalidPlanError(
            "the plan is at step {step} of {steps}; create the plan again",
            step=plan.step + 1,
            steps=len(steps),
        )
    return steps


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
