"""What an edit of a plan changes, and whether the state of the plan allows it. Makes no query.

While a plan runs, its guards may only be tightened: a person who has seen the counts could
otherwise loosen the guard that is about to trip. Changed guards never judge counts that a person
has seen before: measuring starts again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from flagstaff._words.text import Text, joined
from flagstaff.exceptions import InvalidPlanError, PlanError
from flagstaff.rollouts.guards import Guard, guards_from_json, valid_guards
from flagstaff.rollouts.models import WATCHED_STATES, Plan
from flagstaff.rollouts.refusals import plan_command
from flagstaff.rollouts.steps import Step, valid_steps
from flagstaff.rollouts.stored import steps_of

__all__ = ["Edit", "edit_of", "loosened_guards", "valid_users", "version_of_plan"]

_MAX_USERS = 2_000_000_000
# The numbers of a guard that find less harm when they are higher.
_NUMBERS = ("limit", "tolerated", "seconds")


@dataclass(frozen=True)
class Edit:
    """The new steps, guards and required users of a plan, and what differs."""

    steps: tuple[Step, ...]
    guards: tuple[Guard, ...]
    required_users: int
    changes: tuple[Text, ...]
    changes_guards: bool


def edit_of(
    plan: Plan,
    steps: Iterable[Step | str] | None,
    guards: Iterable[Guard | str] | None,
    required_users: int | None,
) -> Edit:
    """Returns what an edit changes; None stands for what stays. Imports function guards.

    Raises InvalidPlanError for steps, guards or a number that are not valid, or PlanError for those
    that the plan does not allow now.
    """
    changes: list[Text] = []
    old_steps = steps_of(plan)
    new_steps = old_steps if steps is None else valid_steps(steps)
    if new_steps != old_steps:
        _require_begun_steps(plan, old_steps, new_steps)
        changes.append(
            Text(
                "steps {old} → {new}",
                old=joined([step.text for step in old_steps]),
                new=joined([step.text for step in new_steps]),
            )
        )
    old_guards = guards_from_json(plan.guards)
    pairs = [] if guards is None else _pairs(old_guards, valid_guards(guards))
    about_guards = [_guard_message(plan, *pair) for pair in pairs if pair[0] != pair[1]]
    # Guards in another order are the same guards.
    new_guards = tuple(new for _, new in pairs if new) if about_guards else old_guards
    users = plan.required_users if required_users is None else valid_users(required_users)
    about_users = []
    if users != plan.required_users:
        if users < plan.required_users and plan.state in WATCHED_STATES:
            raise _refused(
                plan,
                Text(
                    "the plan runs, so the required users can only be raised, and {new} is below "
                    "{old}",
                    old=plan.required_users,
                    new=users,
                ),
            )
        about_users = [Text("required users {old} → {new}", old=plan.required_users, new=users)]
    everything = (*changes, *about_guards, *about_users)
    return Edit(new_steps, new_guards, users, everything, bool(about_guards))


def loosened_guards(
    plan: Plan, guards: Iterable[Guard]
) -> list[tuple[Guard, Guard | None, tuple[str, ...]]]:
    """Returns the guards that would find less harm, with the new one and the fields of it.

    A guard that would be removed has no new one. While a plan runs, no such edit is allowed.
    """
    pairs = _pairs(guards_from_json(plan.guards), valid_guards(guards))
    found = [(old, new, _looser_fields(old, new)) for old, new in pairs if old is not None]
    return [(old, new, names) for old, new, names in found if new is None or names]


def valid_users(number: object) -> int:
    """Returns a number of required users. Raises InvalidPlanError if it is not valid."""
    if type(number) is int and 1 <= number <= _MAX_USERS:
        return number
    raise InvalidPlanError(
        "the number of required users is {value}; write a whole number from 1 to {limit}",
        value=repr(number),
        limit=_MAX_USERS,
    )


def version_of_plan(plan: Plan) -> str:
    """Returns a text that differs whenever a plan is edited, in another state or step, or trips."""
    content = [plan.steps, plan.guards, plan.required_users, str(plan.starts_at)]
    digest = sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return f"{plan.state}-{plan.step}-{plan.run_id}-{plan.trip_run_id}-{digest[:12]}"


def _require_begun_steps(plan: Plan, old: Sequence[Step], new: Sequence[Step]) -> None:
    """Refuses other past steps, and while a plan runs another present step."""
    if plan.step is None:
        return
    number = plan.step + 1
    if old[: plan.step] != new[: plan.step]:
        past = [step.text for step in old[: plan.step]]
        raise PlanError(
            "the plan of {key} is at step {number}, so the steps before must stay: {steps}",
            key=plan.key,
            number=number,
            steps=joined(past),
        )
    if len(new) < number:
        raise PlanError(
            "the plan of {key} is at step {number}, so it needs at least so many steps",
            key=plan.key,
            number=number,
        )
    if plan.state in WATCHED_STATES and old[plan.step] != new[plan.step]:
        step = old[plan.step].text
        raise _refused(
            plan, Text("the plan runs, so its present step, {step}, must stay", step=step)
        )


_Pair = tuple[Guard | None, Guard | None]


def _pairs(old: Sequence[Guard], new: Sequence[Guard]) -> list[_Pair]:
    """Returns each new guard with the old one that it replaces, and the old ones without one.

    Latency guards that differ are paired from the shortest time on.
    """
    replaced: dict[Guard, Guard] = {guard: guard for guard in new if guard in old}
    for target in {(guard.kind, guard.path) for guard in old}:
        before, after = (
            sorted(
                (one for one in side if (one.kind, one.path) == target and one not in replaced),
                key=lambda guard: guard.seconds or 0,
            )
            for side in (old, new)
        )
        replaced.update(zip(after, before, strict=False))
    kept = set(replaced.values())
    return [
        *((replaced.get(guard), guard) for guard in new),
        *((guard, None) for guard in old if guard not in kept),
    ]


def _guard_message(plan: Plan, old: Guard | None, new: Guard | None) -> Text:
    """Returns how a guard changes. Raises PlanError if that loosens a plan that runs."""
    if old is None:
        return Text("guard {guard} added", guard=str(new))
    runs = plan.state in WATCHED_STATES
    if new is None:
        if runs:
            raise _refused(
                plan,
                Text(
                    "the plan runs, so its guards can only be tightened, and {guard} would be "
                    "removed",
                    guard=str(old),
                ),
            )
        return Text("guard {guard} removed", guard=str(old))
    if runs and _looser_fields(old, new):
        raise _refused(
            plan,
            Text(
                "the plan runs, so its guards can only be tightened, and {new} is looser than "
                "{old}",
                old=str(old),
                new=str(new),
            ),
        )
    return Text("guard {old} → {new}", old=str(old), new=str(new))


def _looser_fields(old: Guard, new: Guard | None) -> tuple[str, ...]:
    if new is None:
        return ()
    numbers = [(name, getattr(old, name) or 0, getattr(new, name) or 0) for name in _NUMBERS]
    holds = new.action == "hold" and old.action == "rollback"
    return (*(name for name, before, after in numbers if after > before), *["action"] * holds)


def _refused(plan: Plan, why: str) -> PlanError:
    command = plan_command(plan.key, "pause")
    return PlanError(
        "the rollout plan of {key} cannot be edited, because {why}; pause it first: {command}",
        key=plan.key,
        why=why,
        command=command,
    )
