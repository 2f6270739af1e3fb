"""Rules as rows of texts, as the inputs of a form have them, and back to JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext_lazy

from flagstaff._words.rule_parts import objects_in
from flagstaff.admin.rule_editor.values import ValuesError, parse_values, values_text
from flagstaff.changes.fields import canonical_json
from flagstaff.validators import condition_problem, rule_problem

#: The two choices for the operator "isnull", which have no values.
IS_MISSING, IS_PRESENT = "isnull", "isnull:false"
#: In the order of the menu. A condition is true if one of its values matches.
OPERATORS = {
    "in": gettext_lazy("is one of"),
    "contains": gettext_lazy("contains"),
    "startswith": gettext_lazy("starts with"),
    "endswith": gettext_lazy("ends with"),
    "regex": gettext_lazy("matches the pattern"),
    "lt": gettext_lazy("is less than"),
    "lte": gettext_lazy("is at most"),
    "gt": gettext_lazy("is more than"),
    "gte": gettext_lazy("is at least"),
    "version_lt": gettext_lazy("is a version before"),
    "version_gte": gettext_lazy("is this version or later"),
    IS_MISSING: gettext_lazy("is missing"),
    IS_PRESENT: gettext_lazy("is present"),
}

#: In rules as JSON.
JSON_OPERATORS = [name for name in OPERATORS if name != IS_PRESENT]


#: The rules and conditions of one editor. Django accepts 1,000 fields of a form.
MAX_ROWS = 120
_NULLS = {IS_MISSING: True, IS_PRESENT: False}
# A line break, which a browser removes from an input.
_BREAK = re.compile(r"[\r\n]")


@dataclass(frozen=True)
class ConditionRow:
    """One condition. With a segment, it has no attribute, operator and values."""

    attribute: str = ""
    operator: str = "in"
    values: str = ""
    negate: bool = False
    #: Whether the JSON says `"negate": false`.
    says_false: bool = False
    #: None for a condition on an attribute.
    segment: str | None = None


@dataclass(frozen=True)
class RuleRow:
    """One rule."""

    name: str = ""
    percent: str = ""
    conditions: tuple[ConditionRow, ...] = field(default=())


def rows_of_rules(rules: object) -> tuple[RuleRow, ...] | None:
    """Returns the rows of rules; None for rules that only JSON can show."""
    if not isinstance(rules, list) or rule_problem(rules):
        return None
    rows = tuple(_rule_row(rule) for rule in objects_in(rules))
    return rows if _is_same(rules_of_rows(rows), rules) and _fits(rows) else None


def rows_of_conditions(conditions: object) -> tuple[ConditionRow, ...] | None:
    """Returns the rows of a segment's conditions; None for those that only JSON can show."""
    if not isinstance(conditions, list) or condition_problem(conditions):
        return None
    rows = tuple(_condition_row(condition) for condition in conditions)
    is_shown = _is_same(conditions_of_rows(rows), conditions)
    return rows if is_shown and _fits([RuleRow(conditions=rows)]) else None


def rules_of_rows(rows: Sequence[RuleRow]) -> list[dict[str, Any]]:
    """Returns the JSON of rows. What is not valid stays in it, as text."""
    return [_rule(row) for row in rows]


def conditions_of_rows(rows: Sequence[ConditionRow]) -> list[dict[str, Any]]:
    """Returns the JSON of rows of conditions. What is not valid stays in it, as text."""
    return [_condition(row) for row in rows]


def as_number(percent: str) -> int | str:
    """Returns the number of a percentage; the text if it is none."""
    text = percent.strip()
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else percent


def _rule_row(rule: dict[str, Any]) -> RuleRow:
    percent = rule.get("rollout_percent")
    return RuleRow(
        rule.get("name", ""),
        "" if percent is None else str(percent),
        tuple(_condition_row(one) for one in rule["conditions"]),
    )


def _condition_row(condition: dict[str, Any]) -> ConditionRow:
    negate = condition.get("negate")
    row = ConditionRow(negate=negate is True, says_false=negate is False)
    if "segment" in condition:
        return replace(row, segment=condition["segment"])
    operator, values = condition["operator"], condition["values"]
    row = replace(row, attribute=condition["attribute"], operator=operator)
    if operator == IS_MISSING:
        return row if values[0] else replace(row, operator=IS_PRESENT)
    return replace(row, values=values_text(values, operator))


def _rule(row: RuleRow) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": row.name} if row.name else {}
    rule["conditions"] = conditions_of_rows(row.conditions)
    if row.percent.strip():
        rule["rollout_percent"] = as_number(row.percent)
    return rule


def _condition(row: ConditionRow) -> dict[str, Any]:
    negate = {"negate": row.negate} if row.negate or row.says_false else {}
    if row.segment is not None:
        return {"segment": row.segment, **negate}
    operator = IS_MISSING if row.operator in _NULLS else row.operator
    return {
        "attribute": row.attribute,
        "operator": operator,
        "values": _values(row),
        **negate,
    }


def _values(row: ConditionRow) -> list[object]:
    if row.operator in _NULLS:
        return [_NULLS[row.operator]]
    try:
        return parse_values(row.values, row.operator)
    except ValuesError:
        return [row.values]


def _is_same(found: object, stored: object) -> bool:
    return canonical_json(found) == canonical_json(stored)


def _fits(rules: Sequence[RuleRow]) -> bool:
    """Whether a form can have the rows, and inputs of one line can have their names."""
    names = [rule.name for rule in rules]
    names += [condition.attribute for rule in rules for condition in rule.conditions]
    count = len(rules) + sum(len(rule.conditions) for rule in rules)
    return count <= MAX_ROWS and not any(map(_BREAK.search, names))
