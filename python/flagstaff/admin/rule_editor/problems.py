"""The problems of an editor's rows, each with the input that it is about."""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext as _

from flagstaff._words.rule_parts import IN_PLACES, sentence
from flagstaff._words.text import Text, joined
from flagstaff.admin.rule_editor.edits import Place, PostedRows
from flagstaff.admin.rule_editor.rows import (
    IS_MISSING,
    IS_PRESENT,
    ConditionRow,
    RuleRow,
    ValuesError,
    as_number,
    condition_of_row,
    parse_values,
)
from flagstaff.admin.rule_editor.rule_values import RuleValueError, RuleValues
from flagstaff.validators import condition_problem, is_percent, rule_problem

#: What a problem can be about.
PARTS = ("name", "percent", "conditions", "value", "attribute", "values", "segment")

# The percentages of a rule without conditions.
_OF_OTHERS = range(1, 100)
_VALUE = "value {number}"
_ANY_CONDITION = {"attribute": "x", "operator": "in", "values": [1]}


def problems_of(
    posted: PostedRows, segments: Collection[str] | None = None
) -> dict[tuple[Place, str], str]:
    """Returns the problem of each input that has one, by its row and one of `PARTS`.

    `segments` are the keys of the segments that exist; None does not check them.
    """
    found: dict[tuple[Place, str], str] = {}
    for index, rule in enumerate(posted.rules):
        place: Place = (index, None)
        found[place, "name"] = _name_problem(rule)
        found[place, "percent"] = _percent_problem(rule)
        found[place, "value"] = _value_problem(rule, posted.values)
        # The field of a segment is required: no conditions are its own error.
        if not rule.conditions and not posted.of_segment:
            is_last = index == len(posted.rules) - 1
            found[place, "conditions"] = _no_conditions_problem(rule, is_last=is_last)
        for number, condition in enumerate(rule.conditions):
            part, problem = _condition_problem(condition, segments)
            found[(index, number), part] = problem
    return {key: problem for key, problem in found.items() if problem}


def _name_problem(rule: RuleRow) -> str:
    if not rule.name:
        return ""
    return _own_text(rule_problem([{"name": rule.name, "conditions": [_ANY_CONDITION]}]))


def _no_conditions_problem(rule: RuleRow, *, is_last: bool) -> str:
    if not rule.is_for_others:
        return _("This rule has no conditions. Add one, or remove the rule.")
    if not is_last:
        return _("A rule for all others must be the last one. Move it down, or add a condition.")
    return ""


def _value_problem(rule: RuleRow, values: RuleValues | None) -> str:
    if values is None or rule.value is None:
        return ""
    try:
        values.parse(rule.value)
    except RuleValueError as error:
        return str(error)
    return ""


def _percent_problem(rule: RuleRow) -> str:
    if rule.is_for_others and as_number(rule.percent) not in _OF_OTHERS:
        return _("Write 1 to 99. For all others, change the value itself instead.")
    if not rule.percent.strip() or is_percent(as_number(rule.percent)):
        return ""
    return _("Write a whole number from 0 to 100, or nothing for 100 %.")


def _condition_problem(row: ConditionRow, segments: Collection[str] | None) -> tuple[str, str]:
    """The input with a problem, and the problem; empty if there is none."""
    if row.segment is not None:
        return "segment", _segment_problem(row.segment, segments)
    if not row.attribute:
        return "attribute", _("Write the name of an attribute.")
    if row.operator not in (IS_MISSING, IS_PRESENT):
        try:
            values = parse_values(row.values, row.operator)
        except ValuesError as error:
            return "values", sentence(str(error))
        if not values:
            return "values", _("Write at least one value.")
    problem = condition_problem([condition_of_row(row)])
    if problem is None:
        return "values", ""
    text = problem.values.get("problem", problem)
    is_of_name = isinstance(text, Text) and '"attribute"' in text.values.values()
    return "attribute" if is_of_name else "values", _own_text(problem)


def _segment_problem(key: str, segments: Collection[str] | None) -> str:
    if not key:
        return _("Choose a segment.")
    if segments is not None and key not in segments:
        return _("This segment does not exist. Choose another one.")
    return ""


def _own_text(problem: Text | None) -> str:
    """The message as a sentence, without the numbers of the rule and the condition."""
    if problem is None:
        return ""
    places, text = problem.values.get("places"), problem.values.get("problem")
    if not isinstance(places, Text) or not isinstance(text, Text):
        return sentence(problem)
    each = places.values.values()
    shown = [place for place in each if isinstance(place, Text) and place.english == _VALUE]
    return sentence(Text(IN_PLACES, places=joined(shown), problem=text) if shown else text)
