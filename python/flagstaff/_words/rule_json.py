"""Rules and conditions as JSON that people read and edit: one condition a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
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


def rules_json(rules: object, depth: int = 0) -> str:
    """Returns the JSON of rules, or of conditions. Other JSON is on one line."""
    if isinstance(rules, list) and rules and all(isinstance(one, dict) for one in rules):
        return _block("[]", (rules_json(one, depth + 2) for one in rules), depth)
    if isinstance(rules, dict) and "conditions" in rules:
        members = in_reading_order(rules).items()
        return _block(
            "{}",
            (f"{_one_line(name)}: {rules_json(value, depth + 2)}" for name, value in members),
            depth,
        )
    return _one_line(in_reading_order(rules))


def in_reading_order(rules: Any) -> Any:
    """Returns rules or conditions with the members of each object as people write them."""
    if isinstance(rules, list):
        return [in_reading_order(one) for one in rules]
    if not isinstance(rules, dict):
        return rules
    names = sorted(rules, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {name: in_reading_order(rules[name]) for name in names}


def _block(brackets: str, members: Iterable[str], depth: int) -> str:
    indent = "\n" + " " * depth
    lines = f",{indent}  ".join(members)
    return f"{brackets[0]}{indent}  {lines}{indent}{brackets[1]}"


def _one_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
