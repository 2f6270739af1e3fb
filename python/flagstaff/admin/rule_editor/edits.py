"""What the buttons of an editor do to its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from flagstaff.admin.rule_editor.posted import Place, PostedRows
from flagstaff.admin.rule_editor.rows import MAX_ROWS, ConditionRow, RuleRow

_Row = TypeVar("_Row")
_Rows = tuple[RuleRow, ...]
_Edited = tuple[_Rows, Place | None]


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
