"""What the buttons of an editor do to its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from flagstaff.admin.rule_editor.rows import MAX_ROWS, ConditionRow, RuleRow

#: The name of the buttons that change the rows without saving.
EDIT = "_rule_edit"

#: The index of a rule, and of one of its conditions or None.
Place = tuple[int, int | None]

_PARTS = "name|percent|attribute|operator|values|negate|says_false|segment"
_INPUT = re.compile(
    rf"-(?P<rule>[0-9a-z]{{1,9}})(?:-(?P<condition>[0-9a-z]{{1,9}}))?-(?P<part>{_PARTS})"
)

_Row = TypeVar("_Row")
_Rows = tuple[RuleRow, ...]
_Edited = tuple[_Rows, Place | None]


@dataclass(frozen=True)
class PostedRows:
    """The rows of a submitted form."""

    rules: tuple[RuleRow, ...]
    #: Whether a button has changed the rows: then nothing is saved, and no row has a problem yet.
    is_edit: bool = False
    #: The row that gets the focus.
    focus: Place | None = None


def marker_of(name: str) -> str:
    """Returns the name of the input that each page with rows has, also with none."""
    return f"{name}-rows"


def read_rows(data: Mapping[str, str], name: str) -> tuple[tuple[RuleRow, ...], dict[str, Place]]:
    """Returns the rows of the field of this name, and the place of each row by its token."""
    rules: dict[str, dict[str, str]] = {}
    conditions: dict[str, dict[str, dict[str, str]]] = {}
    for key in data:
        found = _INPUT.fullmatch(key, len(name)) if key.startswith(f"{name}-") else None
        if found is None:
            continue
        rule = rules.setdefault(found["rule"], {})
        of_rule = conditions.setdefault(found["rule"], {})
        parts = of_rule.setdefault(found["condition"], {}) if found["condition"] else rule
        parts[found["part"]] = data[key]
    rows = [
        _rule(rule, tuple(map(_condition, conditions[token].values())))
        for token, rule in rules.items()
    ]
    return tuple(rows), _places(conditions)


def _places(conditions: Mapping[str, Mapping[str, object]]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for index, (rule, of_rule) in enumerate(conditions.items()):
        places[rule] = (index, None)
        for number, condition in enumerate(of_rule):
            places[f"{rule}-{condition}"] = (index, number)
    return places


def _rule(parts: Mapping[str, str], conditions: tuple[ConditionRow, ...]) -> RuleRow:
    return RuleRow(parts.get("name", ""), parts.get("percent", ""), conditions)


def _condition(parts: Mapping[str, str]) -> ConditionRow:
    return ConditionRow(
        parts.get("attribute", ""),
        parts.get("operator", "in"),
        parts.get("values", ""),
        negate="negate" in parts,
        says_false="says_false" in parts,
        segment=parts.get("segment"),
    )


def is_full(rules: Sequence[RuleRow]) -> bool:
    """Whether a form can have no further rule with a condition."""
    return len(rules) + sum(len(rule.conditions) for rule in rules) > MAX_ROWS - 2


def edited_rows(rules: _Rows, places: Mapping[str, Place], edit: str) -> PostedRows:
    """Returns the rows after the edit of a button, such as "up:1" or "add-condition:0".

    A button of a row that is not there changes nothing.
    """
    word, _colon, token = edit.partition(":")
    if word == "add-rule":
        changed: _Edited = _with_rule(rules)
    elif token in places and word in _EDITS:
        changed = _EDITS[word](rules, places[token])
    else:
        changed = (rules, None)
    return PostedRows(changed[0], is_edit=True, focus=changed[1])


def _with_rule(rules: _Rows) -> _Edited:
    if is_full(rules):
        return rules, None
    return (*rules, RuleRow(conditions=(ConditionRow(),))), (len(rules), 0)


def _with_condition(rules: _Rows, place: Place, row: ConditionRow) -> _Edited:
    index, conditions = place[0], rules[place[0]].conditions
    if is_full(rules):
        return rules, None
    return _with_conditions(rules, index, (*conditions, row)), (index, len(conditions))


def _add_condition(rules: _Rows, place: Place) -> _Edited:
    return _with_condition(rules, place, ConditionRow())


def _add_segment(rules: _Rows, place: Place) -> _Edited:
    return _with_condition(rules, place, ConditionRow(segment=""))


def _remove(rules: _Rows, place: Place) -> _Edited:
    index, number = place
    if number is None:
        return _without(rules, index), None
    return _with_conditions(rules, index, _without(rules[index].conditions, number)), None


def _up(rules: _Rows, place: Place) -> _Edited:
    return _move(rules, place, -1)


def _down(rules: _Rows, place: Place) -> _Edited:
    return _move(rules, place, 1)


def _move(rules: _Rows, place: Place, step: int) -> _Edited:
    index, number = place
    if number is None:
        moved, new = _moved(rules, index, step)
        return moved, (new, None)
    conditions, new = _moved(rules[index].conditions, number, step)
    return _with_conditions(rules, index, conditions), (index, new)


def _with_conditions(rules: _Rows, index: int, conditions: tuple[ConditionRow, ...]) -> _Rows:
    rule = replace(rules[index], conditions=conditions)
    return (*rules[:index], rule, *rules[index + 1 :])


def _without(rows: tuple[_Row, ...], index: int) -> tuple[_Row, ...]:
    return rows[:index] + rows[index + 1 :]


def _moved(rows: tuple[_Row, ...], index: int, step: int) -> tuple[tuple[_Row, ...], int]:
    """The rows with one of them a step up or down, and where it is now."""
    new = min(max(index + step, 0), len(rows) - 1)
    others = _without(rows, index)
    return (*others[:new], rows[index], *others[new:]), new


_EDITS: Mapping[str, Callable[[_Rows, Place], _Edited]] = {
    "add-condition": _add_condition,
    "add-segment": _add_segment,
    "remove": _remove,
    "up": _up,
    "down": _down,
}
