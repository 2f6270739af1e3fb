"""The rows of an editor in the data of a submitted form.

Rows are in the order of their inputs on the page, so a script can move them without new names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flagstaff.admin.rule_editor.rows import ConditionRow, RuleRow

#: The name of the buttons that change the rows without saving.
EDIT = "_rule_edit"

#: The index of a rule, and of one of its conditions or None.
Place = tuple[int, int | None]

_PARTS = "name|percent|attribute|operator|values|negate|says_false|segment"
_INPUT = re.compile(
    rf"-(?P<rule>[0-9a-z]{{1,9}})(?:-(?P<condition>[0-9a-z]{{1,9}}))?-(?P<part>{_PARTS})"
)


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
        parts_of_name = _INPUT.fullmatch(key, len(name)) if key.startswith(f"{name}-") else None
        if parts_of_name is None:
            continue
        rule = rules.setdefault(parts_of_name["rule"], {})
        of_rule = conditions.setdefault(parts_of_name["rule"], {})
        parts = (
            of_rule.setdefault(parts_of_name["condition"], {})
            if parts_of_name["condition"]
            else rule
        )
        parts[parts_of_name["part"]] = data[key]
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
