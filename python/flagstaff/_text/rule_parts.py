"""The conditions in the JSON of rules. Ignores what is not a rule: SQL can write any JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flagstaff._text.truncated import truncated

__all__ = ["conditions_of", "named_attributes", "named_segments", "objects_in"]

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


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    # json.dumps writes a tuple as a list.
    for one in value if isinstance(value, list | tuple) else ():
        yield one if isinstance(one, dict) else {}
