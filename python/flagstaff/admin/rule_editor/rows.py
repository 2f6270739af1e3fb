"""Rules as rows of texts, as the inputs of a form have them, and back to JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.json_text import is_same_json
from flagstaff.admin.rule_editor.rule_values import RuleValueError, RuleValues, ValueRow
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem

# These operators have no other values than texts: 1.10 is a version, and no number.
_TEXT_OPERATORS = frozenset(
    ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
)
_PATTERN = "regex"


def _item(separators: str) -> re.Pattern[str]:
    """Matches a quoted value and what follows it, or a bare value, up to a separator."""
    quoted = r'("(?:[^"\\]|\\.)*")'
    other = f"([^{separators}]*)"
    return re.compile(rf"\s*(?:{quoted}{other}|{other})(?:[{separators}]|\Z)", re.DOTALL)


_ITEM, _LINE = _item(r",\r\n"), _item(r"\r\n")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
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
    items = (_LINE if operator == _PATTERN else _ITEM).finditer(text)
    values = (_parsed(item, operator) for item in items)
    return [value for value in values if value is not None]


def _value_text(value: object, operator: str) -> str:
    is_plain = isinstance(value, str) and _is_plain(value, operator)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str, operator: str) -> bool:
    """Whether the text means itself without quotes."""
    if _CONTROL.search(value) or value.startswith('"') or value != value.strip() or not value:
        return False
    if operator != _PATTERN and "," in value:
        return False
    return operator in _TEXT_OPERATORS or isinstance(_typed(value), str)


def _parsed(item: re.Match[str], operator: str) -> object:
    """The value of an item; None for an empty one."""
    quoted, rest, bare = item.groups(default="")
    if quoted:
        value = _decoded(quoted)
        if rest.strip():
            text = _("there is text after %(value)s; separate values by commas")
            raise ValuesError(text % {"value": quoted[:_MAX_SHOWN]})
        return value
    bare = bare.strip()
    if bare.startswith('"'):
        raise ValuesError(_("a quotation mark is not closed; add one after the value"))
    return (bare if operator in _TEXT_OPERATORS else _typed(bare)) if bare else None


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


@dataclass
class RuleRow:
    """One rule."""

    name: str = ""
    percent: str = ""
    conditions: list[ConditionRow] = field(default_factory=list)
    #: None for a rule of a flag.
    value: ValueRow | None = None

    @property
    def is_for_others(self) -> bool:
        """Whether this is a rule of a value without conditions: for all others."""
        return self.value is not None and not self.conditions


def rows_of_rules(rules: object, values: RuleValues | None = None) -> list[RuleRow] | None:
    """Returns the rows of rules; None for rules that only JSON can show.

    `values` are those of a value's rules; None for the rules of a flag.
    """
    problem_of = rule_problem if values is None else value_rule_problem
    if not isinstance(rules, list) or problem_of(rules):
        return None
    rows = [
        RuleRow(
            rule.get("name", ""),
            str(rule.get("rollout_percent", "")),
            [_row(condition) for condition in rule["conditions"]],
            None if values is None else values.row_of(rule["value"]),
        )
        for rule in rules
    ]
    return rows if is_same_json(rules_of_rows(rows, values), rules) and _fits(rows) else None


def rows_of_conditions(conditions: object) -> list[ConditionRow] | None:
    """Returns the rows of a segment's conditions; None for those that only JSON can show."""
    if not isinstance(conditions, list) or condition_problem(conditions):
        return None
    rows = [_row(condition) for condition in conditions]
    is_shown = is_same_json(conditions_of_rows(rows), conditions)
    return rows if is_shown and _fits([RuleRow(conditions=rows)]) else None


def rules_of_rows(
    rows: Sequence[RuleRow], values: RuleValues | None = None
) -> list[dict[str, Any]]:
    """Returns the JSON of rows. What is not valid stays in it, as text."""
    return [
        {
            **({"name": row.name} if row.name else {}),
            "conditions": conditions_of_rows(row.conditions),
            **({"rollout_percent": as_number(row.percent)} if row.percent.strip() else {}),
            **({} if values is None or row.value is None else {"value": _value(row.value, values)}),
        }
        for row in rows
    ]


def conditions_of_rows(rows: Sequence[ConditionRow]) -> list[dict[str, Any]]:
    """Returns the JSON of rows of conditions. What is not valid stays in it, as text."""
    return [condition_of_row(row) for row in rows]


def condition_of_row(row: ConditionRow) -> dict[str, Any]:
    """Returns the JSON of a condition. What is not valid stays in it, as text."""
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


def as_number(percent: str) -> int | str:
    """Returns the number of a percentage; the text if it is none."""
    text = percent.strip()
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else percent


def _value(row: ValueRow, values: RuleValues) -> object:
    try:
        return values.parse(row)
    except RuleValueError:
        return row.text


def _row(condition: dict[str, Any]) -> ConditionRow:
    negate = condition.get("negate")
    row = ConditionRow(negate=negate is True, says_false=negate is False)
    if "segment" in condition:
        return replace(row, segment=condition["segment"])
    operator, values = condition["operator"], condition["values"]
    row = replace(row, attribute=condition["attribute"], operator=operator)
    if operator == IS_MISSING:
        return row if values[0] else replace(row, operator=IS_PRESENT)
    return replace(row, values=values_text(values, operator))


def _values(row: ConditionRow) -> list[object]:
    if row.operator in _NULLS:
        return [_NULLS[row.operator]]
    try:
        return parse_values(row.values, row.operator)
    except ValuesError:
        return [row.values]


def row_count(rules: Sequence[RuleRow]) -> int:
    """Returns the number of rules and conditions, which a form limits to MAX_ROWS."""
    return len(rules) + sum(len(rule.conditions) for rule in rules)


def _fits(rules: Sequence[RuleRow]) -> bool:
    """Whether a form can have the rows, and inputs of one line can have their names."""
    names = [rule.name for rule in rules]
    names += [condition.attribute for rule in rules for condition in rule.conditions]
    return row_count(rules) <= MAX_ROWS and not any(map(_BREAK.search, names))
