"""The conditions in the JSON of rules. Ignores what is not a rule: SQL can write any JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flagstaff._text.truncated import truncated

__all__ = [
    "conditions_of",
    "groups_of",
    "groups_of_conditions",
    "named_attributes",
    "named_groups",
    "named_segments",
    "objects_in",
    "reads_groups",
]

_GROUPS = "groups"

# The length of a rule's name in a message: SQL can write names of any length.
_MAX_NAME = 102


def conditions_of(rules: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the conditions of rules, each with its place, such as 'rule 2 ("beta")'."""
    for number, rule in enumerate(objects_in(rules), start=1):
        name = rule.get("name")
        shown = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
        place = f"rule {number}" + (f" ({shown})" if isinstance(name, str) else "")
        for condition in objects_in(rule.get("conditions")):
            yield place, condition


def named_segments(rules: object) -> Iterator[tuple[str, str]]:
    """Yields the segments that rules name, each with its place."""
    for place, condition in conditions_of(rules):
        if isinstance(key := condition.get("segment"), str):
            yield key, place


def named_attributes(rules: object) -> Iterator[str]:
    """Yields the names of the attributes that rules read, or conditions in place of rules."""
    for one in objects_in(rules):
        for condition in (one, *objects_in(one.get("conditions"))):
            if isinstance(name := condition.get("attribute"), str):
                yield name


def named_groups(rules: object) -> Iterator[tuple[str, str]]:
    """Yields the groups that rules name, each with its place."""
    for place, condition in conditions_of(rules):
        for name in groups_of_conditions([condition]):
            yield name, place


def groups_of_conditions(conditions: object) -> Iterator[str]:
    """Yields the names of the groups that conditions name."""
    for condition in objects_in(conditions):
        # Other operators have patterns, or parts of names.
        if condition.get("attribute") == _GROUPS and condition.get("operator") == "in":
            values = condition.get("values")
            yield from filter(_is_text, values if isinstance(values, list | tuple) else ())


def groups_of(rules: object) -> set[str]:
    """Returns the names of the groups that rules name, or conditions in place of rules."""
    return {name for name, _place in named_groups(rules)}.union(groups_of_conditions(rules))


def reads_groups(rules: object) -> bool:
    """Whether rules, or conditions in place of rules, depend on groups."""
    return _GROUPS in named_attributes(rules)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    # json.dumps writes a tuple as a list.
    for one in value if isinstance(value, list | tuple) else ():
        yield one if isinstance(one, dict) else {}
