"""The rows that a form has posted, and what the buttons of an editor do to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flagstaff.admin.rule_editor.rows import (
    MAX_ROWS,
    ConditionRow,
    RuleRow,
    conditions_of_rows,
    row_count,
    rules_of_rows,
)
from flagstaff.admin.rule_editor.rule_values import RuleValues, ValueRow

#: The name of the buttons that change the rows without saving.
EDIT = "_rule_edit"

#: The buttons that add a rule or a value, and what a rule can begin with.
ADD_RULE, ADD_VALUE = "add-rule", "add-value"
OF_SEGMENT, OF_ATTRIBUTE, OF_OTHERS = "segment", "attribute=", "others"

#: The index of a rule, and of one of its conditions or None.
Place = tuple[int, int | None]

_NEW_ROWS = {"add-condition": ConditionRow(), "add-segment": ConditionRow(segment="")}
_STEPS = {"up": -1, "down": 1}
_INPUT = re.compile(
    "-(?P<rule>[0-9a-z]{1,9})(?:-(?P<condition>[0-9a-z]{1,9}))?"
    "-(?P<part>name|percent|value|text|kept|attribute|operator|values|negate|says_false|segment)"
)


@dataclass(frozen=True)
class PostedRows:
    """The rows of a form. A segment has the conditions of one rule."""

    rules: list[RuleRow]
    of_segment: bool = False
    #: Whether a button has changed the rows: then nothing is saved, and no row has a problem yet.
    is_edit: bool = False
    #: The row that gets the focus.
    focus: Place | None = None
    #: What the rules of a value can give; None for other rules.
    values: RuleValues | None = None

    def as_json(self) -> list[dict[str, Any]]:
        """Returns the rules, or the conditions of the segment."""
        if not self.of_segment:
            return rules_of_rows(self.rules, self.values)
        return conditions_of_rows([one for rule in self.rules for one in rule.conditions])


def marker_of(name: str) -> str:
    """Returns the name of the input that each page with rows has, also with none."""
    return f"{name}-rows"


def read_rows(data: Mapping[str, str], name: str) -> tuple[list[RuleRow], dict[str, Place]]:
    """Returns the rows of the field of this name, and the place of each row by its token."""
    # The texts of each rule, in "", and of its conditions, by their tokens.
    texts: dict[str, dict[str, dict[str, str]]] = {}
    for key, text in data.items():
        found = _INPUT.fullmatch(key, len(name)) if key.startswith(f"{name}-") else None
        if found is not None:
            rows = texts.setdefault(found["rule"], {"": {}})
            rows.setdefault(found["condition"] or "", {})[found["part"]] = text
    rules: list[RuleRow] = []
    places: dict[str, Place] = {}
    for token, rows in texts.items():
        rule = rows.pop("")
        places[token] = (len(rules), None)
        for number, condition in enumerate(rows):
            places[f"{token}-{condition}"] = (len(rules), number)
        conditions = [_condition(condition) for condition in rows.values()]
        name, percent = rule.get("name", ""), rule.get("percent", "")
        rules.append(RuleRow(name, percent, conditions, _value(rule)))
    return rules, places


def _value(texts: Mapping[str, str]) -> ValueRow | None:
    if {"value", "text"}.isdisjoint(texts):
        return None
    is_text = "text" in texts
    return ValueRow(texts["text" if is_text else "value"], is_text, texts.get("kept", ""))


def _condition(texts: Mapping[str, str]) -> ConditionRow:
    return ConditionRow(
        texts.get("attribute", ""),
        texts.get("operator", "in"),
        texts.get("values", ""),
        negate="negate" in texts,
        says_false="says_false" in texts,
        segment=texts.get("segment"),
    )


def is_full(rules: Sequence[RuleRow]) -> bool:
    """Whether the form may not get another rule with a condition."""
    return row_count(rules) > MAX_ROWS - 2


def without_empty(rules: Sequence[RuleRow], *, of_segment: bool) -> list[RuleRow]:
    """Returns the rows without those in which nothing was typed.

    A segment, and a rule with a name or a percentage, keep one condition, which is their problem.
    """
    kept = [replace(rule, conditions=_filled(rule.conditions)) for rule in rules]
    return [rule for rule in kept if of_segment or not _is_empty_rule(rule)]


def _filled(conditions: list[ConditionRow]) -> list[ConditionRow]:
    return [one for one in conditions if not _is_empty(one)] or conditions[:1]


def _is_empty_rule(rule: RuleRow) -> bool:
    has_value = rule.value is not None and not rule.value.is_empty
    is_unnamed = not rule.name.strip() and not rule.percent.strip() and not has_value
    return is_unnamed and bool(rule.conditions) and all(map(_is_empty, rule.conditions))


def _is_empty(row: ConditionRow) -> bool:
    stripped = replace(row, attribute=row.attribute.strip(), values=row.values.strip())
    return stripped in _NEW_ROWS.values()


def edit_rows(
    rules: list[RuleRow],
    places: Mapping[str, Place],
    edit: str,
    values: RuleValues | None = None,
) -> Place | None:
    """Makes the edit of a button, such as "up:1" or "add-condition:0". Returns the row to focus.

    A button of a row that is not there changes nothing. `values` are those of a value's rules.
    """
    word, _colon, token = edit.partition(":")
    row, _colon, value = token.partition(":")
    if word == ADD_RULE:
        return _add_rule(rules, token, values)
    if row not in places:
        return None
    index, number = place = places[row]
    conditions = rules[index].conditions
    if word in _NEW_ROWS and not is_full(rules):
        conditions.append(_NEW_ROWS[word])
        return index, len(conditions) - 1
    if word == ADD_VALUE and number is not None:
        conditions[number] = _with_value(conditions[number], value)
        return place
    rows: list[Any] = rules if number is None else conditions
    at = index if number is None else number
    if word == "remove":
        del rows[at]
    if word not in _STEPS:
        return None
    new = min(max(at + _STEPS[word], 0), len(rows) - 1)
    rows.insert(new, rows.pop(at))
    return (new, None) if number is None else (index, new)


def _add_rule(rules: list[RuleRow], beginning: str, values: RuleValues | None) -> Place | None:
    """Adds a rule that begins with "segment", "attribute=NAME", or an empty attribute.

    The rule of a value for all others has no conditions, and stays the last one.
    """
    if is_full(rules):
        return None
    value = None if values is None else values.new_row()
    if beginning == OF_OTHERS and value is not None:
        rules.append(RuleRow(value=value))
        return len(rules) - 1, None
    attribute = beginning.removeprefix(OF_ATTRIBUTE) if beginning.startswith(OF_ATTRIBUTE) else ""
    row = ConditionRow(segment="") if beginning == OF_SEGMENT else ConditionRow(attribute)
    at = len(rules) - (1 if rules and rules[-1].is_for_others else 0)
    rules.insert(at, RuleRow(conditions=[row], value=value))
    return at, 0


def _with_value(row: ConditionRow, value: str) -> ConditionRow:
    """Adds a value to those that were typed. The text is one that `values_text` has written."""
    typed = row.values.strip().rstrip(",")
    return replace(row, values=f"{typed}, {value}" if typed else value)
