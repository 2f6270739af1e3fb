"""The targeting of a flag as one table, and where in it an evaluation for one user ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flagstaff._engine.direct import read_as_if_on, read_own_writes
from flagstaff._evaluation import Explanation, Step, explain, step_text
from flagstaff._request.context import with_objects
from flagstaff._request.flags import without_request
from flagstaff._tables.attributes import ObjectReader
from flagstaff._tables.rows import USER, hidden_keys, short_unit
from flagstaff._text import localized, say
from flagstaff.admin.evaluation import (
    CONTEXT_HINT,
    LIMITED,
    EvaluationForm,
    TypedUser,
    label_of,
    reason,
    why,
)
from flagstaff.admin.flag.users import allowed_users_link
from flagstaff.admin.looks import allowed_count, count_of_users
from flagstaff.admin.parts import Section
from flagstaff.admin.rights import needs_view_user_text, object_reader
from flagstaff.admin.rules.sentences import rule_lines, rule_notes
from flagstaff.changes.consequence import code_text
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code
from flagstaff.history.describe import may_see_users

# The parameter of Django's pages that holds the filters of the list.
_FILTERS = "_changelist_filters"
# The steps that are about the flag, and no line of the table.
_OF_THE_FLAG = ("exists", "enabled", "rules", "override")


class Who(NamedTuple):
    """A line of the table: users, and how many of them have the flag."""

    name: SafeString | str
    about: SafeString | str
    share: str


class Outcome(NamedTuple):
    """What an evaluation came to in a line: without `met`, it ended before."""

    met: bool | None = None
    decides: bool = False
    why: str = ""
    #: The conditions of a rule: whether each is met, its sentence, and its level below the rule.
    conditions: Sequence[tuple[bool | None, str, int]] = ()


def targeting(admin: Any, request: HttpRequest, flag: Any) -> Section:
    """Returns the lines in the order of the evaluation, and the form that asks about a user.

    If the URL names a user, a column says what the evaluation came to: then queries the user and
    the flag.
    """
    site, rules = admin.admin_site, rule_lines(flag.rules)
    lines = [
        Who(allowed_users_link(admin, request, flag), count_of_users(allowed_count(flag)), "100 %"),
        *(Who(*rule) for rule in rules),
        Who(say("Everyone else").local, _unit_text(flag), f"{flag.rollout_percent} %"),
    ]
    asked = _asked(request, flag, len(lines), object_reader(site, request))
    outcomes = asked.get("outcomes", [None] * len(lines))
    page = {
        **asked,
        "is_on": flag.enabled,
        "lines": [*zip(lines, outcomes, strict=True)],
        "notes": rule_notes(flag.rules, site, request),
    }
    html = render_to_string("flagstaff/targeting.html", page)
    return Section(say("Targeting").local, html, ("rules", "unit"))


def _asked(request: HttpRequest, flag: Any, count: int, reader: ObjectReader) -> dict[str, Any]:
    """Returns the form, and what the evaluation for the user in the URL came to in each line."""
    if not may_see_users(request.user):
        return {"needs_permission": needs_view_user_text()}
    form = EvaluationForm(request.GET, reader)
    shown = {"form": form, "filters": request.GET.get(_FILTERS, "")}
    if not form.is_valid():
        return shown
    user, context = form.cleaned_data["user"], form.cleaned_data["context"]
    # The flag as it is stored: the snapshot of this process may be older. Of one that is off, what
    # the table shows: who has it when it is on.
    as_stored = read_own_writes() if flag.enabled else read_as_if_on(flag.key)
    with as_stored, without_request():
        context, notes = with_objects(context, user.argument)
        explanation = explain(flag.key, user.argument, context=context)
    # Nor does the user see the steps of a flag that this one needs, unless they may see the flag.
    hidden = hidden_keys(conf.flag_model)
    steps = [step for step in explanation.steps if step.values.get("flag") not in hidden]
    outcomes = _outcomes(replace(explanation, steps=tuple(steps)), count)
    is_decided = any(outcome.decides for outcome in outcomes)
    return {
        **shown,
        "asked": user.short,
        "outcomes": outcomes,
        "result": _result(explanation, user, is_off=not flag.enabled),
        "why": "" if is_decided else why(explanation),
        # The column says the same.
        "is_result_hidden": is_decided and flag.enabled,
        "problems": [*user.notes(), *notes, *_notes_of_code(explanation)],
    }


def _unit_text(flag: Any) -> str:
    if flag.bucket_by == USER:
        return ""
    return say("by {unit}", unit=short_unit(flag.bucket_by)).local


def _result(explanation: Explanation, user: TypedUser, *, is_off: bool) -> str:
    if explanation.error_code in {"PARSE_ERROR", "GENERAL"}:
        return say("The flag returns the default of the call for {user}.", user=user.words).local
    if explanation.error_code is not None:
        return say("The flag cannot be read from the database.").local
    text = say("On for {user}.") if explanation.value else say("Off for {user}.")
    if is_off:
        text = (
            say("The flag is off. When it is turned on, it is on for {user}.")
            if explanation.value
            else say("The flag is off. When it is turned on, it stays off for {user}.")
        )
    return say(text, user=user.words).local


def _notes_of_code(explanation: Explanation) -> list[str]:
    is_off = explanation.reason == "DISABLED"
    codes = {} if is_off else deciding_code([explanation.key])
    return [localized(code_text(code)) for code in codes.values()]


def _outcomes(explanation: Explanation, count: int) -> list[Outcome]:
    """Returns what the evaluation came to in each line."""
    lines: list[list[Step]] = [[] for _line in range(count)]
    places = {"allowed": 0, **{f"rule {number}": number for number in range(1, count - 1)}}
    for step in explanation.steps:
        if not step.level:
            place = places.get(step.name, count - 1)
        if step.name not in _OF_THE_FLAG:
            lines[place].append(step)
    return [_outcome(explanation, steps) for steps in lines]


def _condition_text(step: Step) -> str:
    text = step_text(step, CONTEXT_HINT)
    return f"{label_of(step)}: {text}" if "flag" in step.values else text


def _outcome(explanation: Explanation, steps: Sequence[Step]) -> Outcome:
    top = [step for step in steps if not step.level]
    # Of the steps for everyone else, the one that decides. With an override, there are none.
    step = next((step for step in top if step.decides), top[0] if top else None)
    if step is None or step.met is None:
        return Outcome()
    conditions = [
        (condition.met, _condition_text(condition), condition.level or 1)
        for condition in steps
        if condition.level or condition.name == LIMITED
    ]
    # A rule can match, and give the flag to nobody.
    met = explanation.value if step.decides else step.met
    is_said = bool(conditions) and not step.decides
    return Outcome(met, step.decides, "" if is_said else reason(explanation, step), conditions)
