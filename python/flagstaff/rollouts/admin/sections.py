"""The sections of the page of a plan: a line for each step, and one for each guard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration
from flagstaff.admin.row_page import Section
from flagstaff.admin.words import Column, Table, badge, two_lines
from flagstaff.rollouts.admin.texts import NONE, state_name
from flagstaff.rollouts.guards import FUNCTION, Guard, guard_name, numbered
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.steps import ALL
from flagstaff.rollouts.verdict import USERS, times


def sections_of(plan: Plan, evidence: Mapping[str, Any]) -> Iterator[Section]:
    """Yields the tables of the steps and of the guards; none if they cannot be read.

    `evidence` is empty before the start.
    """
    if plan.problem:
        return
    for title, table in ((_("Steps"), _steps(plan)), (_("Guards"), _guards(plan, evidence))):
        yield Section(title, table.html(title))


def _steps(plan: Plan) -> Table:
    """Returns the steps with a bar for the percentage, and where the plan is."""
    rows = []
    for index, step in enumerate(plan.read_steps()):
        state: SafeString | str = ""
        if plan.step is not None and index <= plan.step:
            is_present = index == plan.step and plan.state != State.DONE
            state = badge(*state_name(plan)) if is_present else badge("passes", _("passed"))
        bar = '<progress class="flagstaff-bar" max="100" value="{0}" aria-hidden="true"></progress>'
        percent = format_html(bar + " {0} %", step.percent)
        rows.append([percent, localized(duration(step.seconds)) if step.seconds else NONE, state])
    return Table([Column(_("Step")), Column(_("Time")), Column(_("State"))], rows)


def _guards(plan: Plan, evidence: Mapping[str, Any]) -> Table:
    """Returns the table: what fails with the flag and without it, and what follows."""
    guards = plan.read_guards()
    numbers = {guard: number for number, guard in numbered(guards)}
    results = {result["number"]: result for result in evidence.get("guards", ())}
    note = _(
        "A step passes when its time is over, and users with the flag fail less than the limit "
        "times as often as the others; or after %(users)s users with the flag, if nothing looks "
        "like harm. Of each user, the requests until the first failure are compared, too. Each "
        "plan also has a brake: while at most half of the users have the flag, it "
        "rolls back if several of them fail before any user without it."
    )
    note %= {"users": local_number(plan.required_users)}
    if plan.compare:
        users, requests = (
            _("This plan compares users only."),
            _("This plan compares requests only."),
        )
        note = f"{note} {users if plan.compare == USERS else requests}"
    return Table(
        [
            Column(_("Guard")),
            Column(_("Failed with the flag"), is_number=True),
            Column(_("Without it"), is_number=True),
            Column(_("Times as often"), is_number=True),
            Column(_("Result")),
        ],
        [
            _guard(guard, results.get(numbers.get(guard, -1)), evidence, plan.trip_reason)
            for guard in guards
        ],
        empty=_(
            "No guard. The plan is only rolled back if several users with the flag fail before any "
            "user without it."
        ),
        note=note,
    )


def _guard(
    guard: Guard, result: Mapping[str, Any] | None, evidence: Mapping[str, Any], trip_reason: str
) -> list[str]:
    """Returns the cells of a guard."""
    name = two_lines(localized(guard_name(guard)), _options(guard))
    tripped = badge("harm", _("tripped"))
    # A trip begins with the name of its guard, also one by the brake.
    match = re.match(rf"{re.escape(guard_name(guard))}(?![\w.])", trip_reason)
    if guard.kind == FUNCTION:
        fine = _("the function returns True")
        return [name, NONE, NONE, NONE, tripped if match else fine]
    if result is None:
        return [name, NONE, NONE, NONE, NONE]
    failed, upper = result["failed"], result["upper"]
    often = NONE
    verdict = badge("undecided", _("no failures yet"))
    if failed["inside"] or failed["outside"]:
        # JSON has no infinity.
        bound = _("no upper bound yet")
        if upper is not None:
            bound = _("at most %(ratio)s") % {"ratio": _rounded(upper)}
        ratios = [_ratio(comparison) for comparison in result["comparisons"]]
        often = two_lines(" · ".join(ratios), bound)
        verdict = badge("undecided", _("not decided"))
    if result["tripped"] or match:
        verdict = tripped
    elif result["passed"]:
        verdict = badge("passes", _("passes"))
    inside, outside = evidence["users_inside"], evidence["users_outside"]
    return [
        name,
        _side(failed["inside"], inside, _requests(result, 1)),
        _side(failed["outside"], outside, _requests(result, 0)),
        often,
        verdict,
    ]


def guard_text(guard: Guard) -> str:
    """Returns all that a guard is, such as "latency over 0.5 s, rolls back, limit 2"."""
    return ", ".join([localized(guard_name(guard)), _options(guard)])


def _options(guard: Guard) -> str:
    action = _("holds the plan") if guard.action == "hold" else _("rolls back")
    if guard.kind == FUNCTION:
        return action
    limit = _("limit %(limit)s") % {"limit": number_format(f"{guard.limit:g}", use_l10n=True)}
    return f"{action}, {limit}"


def _ratio(comparison: Mapping[str, Any]) -> str:
    """Returns how many times as often users with the flag fail, by users or by requests."""
    ratio = comparison["ratio"]
    text = _("unlimited") if ratio is None else _rounded(ratio)
    return text if comparison["by"] == USERS else _("%(ratio)s by requests") % {"ratio": text}


def _side(failed: int, users: int, requests: str) -> str:
    """Returns the share of failing users, and the numbers; a dash without users."""
    if not users:
        return NONE
    count = _("%(failed)s of %(users)s users")
    values = {"failed": local_number(failed), "users": local_number(users)}
    numbers = " · ".join(filter(None, [count % values, requests]))
    return two_lines(f"{_rounded(min(ALL * failed / users, ALL))} %", numbers)


def _requests(result: Mapping[str, Any], side: int) -> str:
    """Returns how many requests at risk have failed on a side; empty without any."""
    failed, at_risk = result["failed_at_risk"][side], result["at_risk"][side]
    values = {"failed": local_number(failed), "requests": local_number(at_risk)}
    return _("%(failed)s of %(requests)s requests") % values if at_risk else ""


def _rounded(number: float) -> str:
    """Returns a number with two significant digits. Django would cut off digits, not round."""
    return number_format(Decimal(str(times(number))), use_l10n=True, force_grouping=True)
