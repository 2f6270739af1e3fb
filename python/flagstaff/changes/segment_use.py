"""Which segments the rules of flags name. A segment that a rule names must exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Model

from flagstaff._tables.model_fields import rules_field, segment_model
from flagstaff._tables.rows import Row, all_rows, similar_segments
from flagstaff._text.lists import join_some
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError

__all__ = [
    "RULES",
    "flags_by_segment",
    "flags_that_name",
    "is_rules_of_flag",
    "missing_segment",
    "named_segments",
    "require_segments",
    "require_unused",
]

#: The name of the field.
RULES = "rules"


def is_rules_of_flag(row: Row | Model, name: str) -> bool:
    """Whether the field of this name has the rules of a flag."""
    model = conf.flag_model
    return name == RULES and isinstance(row, model) and rules_field(model) is not None


def require_segments(row: Row | Model, rules: object) -> None:
    """Raises InvalidChangeError if the new rules of a flag name a segment that does not exist.

    Locks the segments until the transaction ends, so that nobody deletes one meanwhile.
    """
    if not is_rules_of_flag(row, RULES):
        return
    if problem := missing_segment(rules, lock=True):
        raise InvalidChangeError(f"rules: {problem}")


def missing_segment(rules: object, *, lock: bool = False) -> str | None:
    """Returns which rule names a segment that does not exist, and what to do; None without one."""
    named = dict(reversed([*named_segments(rules)]))
    if not named:
        return None
    rows = all_rows(segment_model())
    # In the order of keys, so that two calls cannot deadlock.
    rows = rows.select_for_update(no_key=True).order_by("key") if lock else rows
    existing = {*rows.filter(key__in=named).values_list("key", flat=True)}
    for key, place in named.items():
        if key not in existing:
            advice = (
                similar_segments(key) or 'create it first with "manage.py flags segment create"'
            )
            return f"{place} names the segment {key!r}, which does not exist; {advice}"
    return None


def require_unused(key: str) -> None:
    """Raises InvalidChangeError if a rule of a flag names the segment. Reads all rules."""
    if flags := flags_that_name(key):
        raise InvalidChangeError(
            f"the segment {key!r} is used by the rules of {join_some(map(repr, flags))}; "
            "change these rules first"
        )


def flags_that_name(key: str) -> list[str]:
    """Returns the keys of the flags whose rules name a segment. Reads all rules."""
    return [flag for flag, _pk in flags_by_segment().get(key, ())]


def flags_by_segment() -> dict[str, list[tuple[str, Any]]]:
    """Returns the key and primary key of the flags whose rules name each segment.

    Reads all rules.
    """
    if rules_field(conf.flag_model) is None:
        return {}
    found: dict[str, list[tuple[str, Any]]] = {}
    flags = all_rows(conf.flag_model).order_by("key").values_list("key", "pk", RULES)
    for flag, pk, rules in flags:
        for segment in dict(named_segments(rules)):
            found.setdefault(segment, []).append((flag, pk))
    return found


def named_segments(rules: object) -> Iterator[tuple[str, str]]:
    """Yields the segments that rules name, each with its place, such as 'rule 2 ("beta")'.

    Ignores what is not a rule: SQL can write any JSON.
    """
    for number, rule in enumerate(_objects(rules), start=1):
        name = rule.get("name")
        place = f"rule {number}" + (f' ("{name}")' if isinstance(name, str) else "")
        for condition in _objects(rule.get("conditions")):
            if isinstance(key := condition.get("segment"), str):
                yield key, place


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    for one in value if isinstance(value, list) else ():
        yield one if isinstance(one, dict) else {}
