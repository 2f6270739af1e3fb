"""Describes what differs between a document, "there", and the database, "here"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flagstaff._text import local_list, say
from flagstaff._text.rules import RuleChange
from flagstaff.history.describe import (
    MAX_PART,
    DescribableChange,
    Names,
    describe_parts,
    describe_rules,
    describe_sides,
    describe_value,
    first_parts,
)
from flagstaff.history.differences import (
    Difference,
    JsonDifference,
    Users,
    json_differences,
    path_text,
)

_ALLOWED, _ENABLED = "allowed_users", "enabled"


class SideLine(NamedTuple):
    """What differs in a field."""

    #: The name of the field; empty for a whole row.
    field: str
    text: str


def side_lines(
    change: DescribableChange, names: Names, *, limit: int | None = None
) -> Iterator[SideLine]:
    """Yields a line for each field of a change from "here" to "there", or one for a whole row.

    Users are named by `names`; `limit` is the length of each value, in characters.
    """
    if change.action != "change":
        yield SideLine("", _whole_row(change, names, limit))
        return
    for difference in change.differences:
        yield SideLine(difference.field, _field(difference, limit))
    if users := _users(change.added, change.removed, names):
        yield SideLine(_ALLOWED, users)


def _whole_row(change: DescribableChange, names: Names, limit: int | None) -> str:
    is_there = change.action == "create"
    parts = [str(part) for part in describe_parts(change, names, limit=limit)[1:]]
    # An event says that a new flag is on; off is the default.
    if any(side.field == _ENABLED and not (side.new or side.old) for side in change.differences):
        parts.insert(0, _on_or_off(enabled=False))
    row = ", ".join(parts)
    return _only_there(row) if is_there else _only_here(row)


def _field(difference: Difference, limit: int | None) -> str:
    here, there = difference.old, difference.new
    if difference.secret:
        return say("differs").local
    if difference.field == _ENABLED and isinstance(here, bool) and isinstance(there, bool):
        return _both(_on_or_off(enabled=there), _on_or_off(enabled=here))
    if changed := describe_rules(difference, limit):
        return first_parts([*map(_rule, changed)])
    if difference.field == "value" and isinstance(here, dict) and isinstance(there, dict):
        return first_parts([*map(_member, json_differences(here, there))])
    text_here, text_there = describe_sides(difference, limit)
    return _both(text_there, text_here)


def _on_or_off(*, enabled: bool) -> str:
    return say("on").local if enabled else say("off").local


def _both(there: str, here: str) -> str:
    return say("{there} there, {here} here", there=there, here=here).local


def _only_there(what: str) -> str:
    return say("only there: {what}", what=what).local


def _only_here(what: str) -> str:
    return say("only here: {what}", what=what).local


def _rule(rule: RuleChange) -> str:
    if not rule.old:
        return _only_there(rule.new)
    if not rule.new:
        return _only_here(rule.old)
    # Of one that has another place there, the new text is a sentence about it.
    return rule.text if rule.new == rule.text else _both(rule.new, rule.old)


def _member(member: JsonDifference) -> str:
    here, there = (describe_value(side, limit=MAX_PART) for side in (member.old, member.new))
    text = _both(there, here)
    if member.action != "changed":
        text = _only_there(there) if member.action == "added" else _only_here(here)
    return f"{path_text(member.path)}: {text}"


def _users(there: Users, here: Users, names: Names) -> str:
    texts = [_only_there(_named(there, names))] if there.count else []
    texts += [_only_here(_named(here, names))] if here.count else []
    return "; ".join(texts)


def _named(users: Users, names: Names) -> str:
    return local_list((names.get(str(pk), str(pk)) for pk in users.pks), total=users.count)
