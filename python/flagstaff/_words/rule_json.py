"""Rules and conditions as JSON that people read and edit: one condition a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# PostgreSQL orders names by length, which puts the values before the attribute.
_ORDER = (
    "name",
    "segment",
    "attribute",
    "operator",
    "values",
    "negate",
    "conditions",
    "rollout_percent",
    "value",
)


def rules_json(rules: object) -> str:
    """Returns the JSON of rules. Any other value is indented by the standard library."""
    if not _is_list_of_objects(rules):
        return _indented(rules)
    return _list(rules, _rule, 0)


def conditions_json(conditions: object) -> str:
    """Returns the JSON of conditions. Any other value is indented by the standard library."""
    if not _is_list_of_objects(conditions):
        return _indented(conditions)
    return _list(conditions, _condition, 0)


def in_reading_order(rules: object) -> object:
    """Returns rules or conditions with the members of each object as people write them."""
    if isinstance(rules, list):
        return [in_reading_order(one) for one in rules]
    if not isinstance(rules, dict):
        return rules
    return {name: in_reading_order(value) for name, value in _ordered(rules)}


def _rule(rule: Mapping[str, Any], depth: int) -> str:
    members = []
    for name, value in _ordered(rule):
        is_list = name == "conditions" and _is_list_of_objects(value)
        text = _list(value, _condition, depth + 2) if is_list else _one_line(value)
        members.append(f"{_one_line(name)}: {text}")
    return _block("{", members, "}", depth)


def _condition(condition: Mapping[str, Any], _depth: int) -> str:
    return _one_line(dict(_ordered(condition)))


def _list(objects: Any, write: Any, depth: int) -> str:
    return _block("[", [write(one, depth + 2) for one in objects], "]", depth)


def _block(start: str, members: list[str], end: str, depth: int) -> str:
    if not members:
        return start + end
    indent, last = f"\n{' ' * (depth + 2)}", f"\n{' ' * depth}"
    return start + indent + f",{indent}".join(members) + last + end


def _ordered(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The members with known names first, in the order in which people write them."""
    return sorted(value.items(), key=lambda member: _place(member[0]))


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _one_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _indented(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
