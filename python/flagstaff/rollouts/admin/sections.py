"""The sections of the page of a plan: a line for each step, and one for each guard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.template.loader import render_to_string
from django.utils.formats import number_format

from flagstaff._text import local_number, localized, say
from flagstaff._text.times import duration
from flagstaff.admin.parts import Section
from flagstaff.admin.words import Column, Table, badge, two_lines
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import NONE, guard_options, state_name
from flagstaff.rollouts.steps_and_guards import ALL, FUNCTION, Guard, Step, guard_name, numbered
from flagstaff.rollouts.verdict import USERS, times


def sections_of(plan: Plan, evidence: Mapping[str, Any]) -> Iterator[Section]:
    """Yields the tables of the steps and of the guards; none if they cannot be read.

    `evidence` is empty before the start.
    """
    if plan.problem:
        return
    steps = render_to_string("flagstaff/plan_steps.html", {"steps": [*_steps(plan)]})
    yield Section(say("Steps").local, steps)
    title = say("Guards").local
    yield Section(title, _guards(plan, evidence).html(title))


def _steps(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yields what is drawn of each step: its percentage, where the plan is, and its time."""
    last = -1 if plan.step is None else plan.step
    for index, step in enumerate(plan.read_steps()):
        is_present = index == last and plan.state != State.DONE
        state, passed = "", 0.0
        if is_present:
            state, passed = state_name(plan)[1], _passed(plan, step)
        elif index <= last:
            state, passed = say("passed").local, 1.0
        yield {
            "percent": step.percent,
            "state": state,
            "is_present": is_present,
            "passed": round(passed * ALL),
            "time": localized(duration(step.seconds)) if step.seconds else say("to the end").local,
        }


def _passed(plan: Plan, step: Step) -> float:
    """Returns the share of the time of the present step that is over; none of one that waits."""
    if plan.due_at is None or not step.seconds:
        return 0.0
    left = (plan.due_at - plan.now).total_seconds() / step.seconds
    return min(max(1 - left, 0.0), 1.0)


def _guards(plan: Plan, evidence: Mapping[str, Any]) -> Table:
    """Returns the table: what fails with the flag and without it, and what follows."""
    guards = plan.read_guards()
    numbers = {guard: number for number, guard in numbered(guards)}
    results = {result["number"]: result for result in evidence.get("guards", ())}
    note = say(
        "A step passes when its time is over, and users with the flag fail less than the limit "
        "times as often as the others; or after {users} users with the flag, if nothing looks "
        "like harm. Of each user, the requests until the first failure are compared, too. Each "
        "plan also has a brake: while at most half of the users have the flag, it "
        "rolls back if several of them fail before any user without it.",
        users=plan.required_users,
    ).local
    if plan.compare:
        users, requests = (
            say("This plan compares users only.").local,
            say("This plan compares requests only.").local,
        )
        note = f"{note} {users if plan.compare == USERS else requests}"
    return Table(
        [
            Column(say("Guard").local),
            Column(say("Failed with the flag").local, is_number=True),
            Column(say("Without it").local, is_number=True),
            Column(say("Times as often").local, is_number=True),
            Column(say("Result").local),
        ],
        [
            _guard(guard, results.get(numbers.get(guard, -1)), evidence, plan.trip_reason)
            for guard in guards
        ],
        empty=say(
            "No guard. The plan is only rolled back if several users with the flag fail before any "
            "user without it."
        ).local,
        note=note,
    )


def _guard(
    guard: Guard, result: Mapping[str, Any] | None, evidence: Mapping[str, Any], trip_reason: str
) -> list[str]:
    """Returns the cells of a guard."""
    name = two_lines(localized(guard_name(guard)), guard_options(guard))
    tripped = badge("harm", say("tripped").local)
    # A trip begins with the name of its guard, also one by the brake.
    match = re.match(rf"{re.escape(guard_name(guard))}(?![\w.])", trip_reason)
    if guard.kind == FUNCTION:
        fine = say("the function returns True").local
        return [name, NONE, NONE, NONE, tripped if match else fine]
    if result is None:
        return [name, NONE, NONE, NONE, NONE]
    failed, upper = result["failed"], result["upper"]
    often = NONE
    verdict = badge("undecided", say("no failures yet").local)
    if failed["inside"] or failed["outside"]:
        # JSON has no infinity: without a failure on the other side, there is no ratio.
        bound = "" if upper is None else say("at most {ratio}", ratio=_rounded(upper)).local
        ratios = [_ratio(each) for each in result["comparisons"] if each["ratio"] is not None]
        often = two_lines(" · ".join(ratios) or NONE, bound)
        verdict = badge("undecided", say("not decided").local)
    if result["tripped"] or match:
        verdict = tripped
    elif result["passed"]:
        verdict = badge("passes", say("passes").local)
    inside, outside = evidence["users_inside"], evidence["users_outside"]
    return [
        name,
        _side(failed["inside"], inside, _requests(result, 1)),
        _side(failed["outside"], outside, _requests(result, 0)),
        often,
        verdict,
    ]


def _ratio(comparison: Mapping[str, Any]) -> str:
    """Returns how many times as often users with the flag fail, by users or by requests."""
    text = _rounded(comparison["ratio"])
    return text if comparison["by"] == USERS else say("{ratio} by requests", ratio=text).local


def _side(failed: int, users: int, requests: str) -> str:
    """Returns the share of failing users, and the numbers; a dash without users."""
    if not users:
        return NONE
    values = {"failed": local_number(failed), "users": local_number(users)}
    numbers = " · ".join(filter(None, [say("{failed} of {users} users", **values).local, requests]))
    return two_lines(f"{_rounded(min(ALL * failed / users, ALL))} %", numbers)


def _requests(result: Mapping[str, Any], side: int) -> str:
    """Returns how many requests at risk have failed on a side; empty without any."""
    failed, at_risk = result["failed_at_risk"][side], result["at_risk"][side]
    values = {"failed": local_number(failed), "requests": local_number(at_risk)}
    return say("{failed} of {requests} requests", **values).local if at_risk else ""


def _rounded(number: float) -> str:
    """Returns a number with two significant digits. Django would cut off digits, not round."""
    return number_format(Decimal(str(times(number))), use_l10n=True, force_grouping=True)
