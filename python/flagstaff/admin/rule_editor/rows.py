"""Rules as rows of texts, as the inputs of a form have them, and back to JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.rule_parts import objects_in
from flagstaff.changes.fields import canonical_json
from flagstaff.validators import condition_problem, rule_problem

# These operators have no other values than texts: 1.10 is a version, and no number.
_TEXT_OPERATORS = frozenset(
    ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
)
_PATTERN = "regex"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
# A quoted value with its escapes, and what stands before the next separator.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
# The length of a value in a message.
_MAX_SHOWN = 40
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


class ValuesError(ValueError):
    """A text has no list of values. The message says what to correct."""


def values_text(values: Sequence[object], operator: str) -> str:
    """Returns the text of values: as short as possible, with quotes where they are needed."""
    separator = "\n" if operator == _PATTERN else ", "
    return separator.join(_value_text(value, operator) for value in values)


def parse_values(text: str, operator: str) -> list[object]:
    """Returns the values of a text. Raises ValuesError."""
    return [*_parsed(text, operator)]


def _value_text(value: object, operator: str) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return value if _is_plain(value, operator) else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str, operator: str) -> bool:
    """Whether the text means itself without quotes."""
    if _CONTROL.search(value) or value.startswith('"') or value != value.strip() or not value:
        return False
    if operator != _PATTERN and "," in value:
        return False
    return operator in _TEXT_OPERATORS or isinstance(_typed(value), str)


def _parsed(text: str, operator: str) -> Iterator[object]:
    end = re.compile(r"[\r\n]" if operator == _PATTERN else r"[,\r\n]")
    position = 0
    while position < len(text):
        start = position + len(text[position:]) - len(text[position:].lstrip())
        if text.startswith('"', start):
            quoted = _QUOTED.match(text, start)
            if quoted is None:
                raise ValuesError(_("a quotation mark is not closed; add one after the value"))
            yield _decoded(quoted[0])
            found = end.search(text, quoted.end())
            position = found.end() if found else len(text)
            if text[quoted.end() : found.start() if found else len(text)].strip():
                raise ValuesError(
                    _("there is text after %(value)s; separate values by commas")
                    % {"value": quoted[0][:_MAX_SHOWN]}
                )
            continue
        found = end.search(text, position)
        bare = text[position : found.start() if found else len(text)].strip()
        position = found.end() if found else len(text)
        if bare:
            yield bare if operator in _TEXT_OPERATORS else _typed(bare)


def _decoded(quoted: str) -> str:
    try:
        text: str = json.loads(quoted, strict=False)
        text.encode()  # Raises UnicodeEncodeError for half of a surrogate pair.
    except ValueError as error:
        message = _("%(value)s has an escape that is not a character; write \\\\ for one \\")
        raise ValuesError(message % {"value": quoted[:_MAX_SHOWN]}) from error
    return text


def _typed(bare: str) -> object:
    """A number or a bool if the text is one, else the text."""
    if bare in _BOOLS:
        return _BOOLS[bare]
    if not _NUMBER.fullmatch(bare):
        return bare
    try:
        number: object = json.loads(bare)
    except ValueError:  # Python decodes no integer of more than 4,300 digits.
        return bare
    return bare if isinstance(number, float) and math.isinf(number) else number


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
