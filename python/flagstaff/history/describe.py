"""Describes an event in one line, for terminals, pages and messages: what was changed, and by whom.

The names of users are only for those who may see them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal, NamedTuple, Protocol

from django.db import Error, transaction

from flagstaff._declared import Flag, Value
from flagstaff._tables.database import user_field
from flagstaff._tables.rows import BUCKET_BY, USER, Kind, declaration
from flagstaff._tables.user_lookup import actor_table, allowed_user_table
from flagstaff._text import MASK, local_list, localized, say, truncated
from flagstaff._text.rules import RuleChange, conditions_text, rule_changes, rules_text
from flagstaff._text.times import FieldEncoder
from flagstaff.conf import conf
from flagstaff.history.log import (
    Difference,
    Event,
    JsonDifference,
    LongJson,
    Users,
    json_differences,
    path_text,
)

#: The length of each value in a message.
MAX_SHORT_VALUE = 120
#: Usernames by primary key.
Names = Mapping[str, str]

_FIELDS = {
    "key": say("key").lazy,
    "enabled": say("state").lazy,
    "rollout_percent": say("rollout").lazy,
    "allowed_users": say("allowed users").lazy,
    "description": say("description").lazy,
    "kind": say("kind").lazy,
    "client_side": say("client side").lazy,
    "owner": say("owner").lazy,
    "tags": say("tags").lazy,
    "review_on": say("review on").lazy,
    "created_at": say("created at").lazy,
    "changed_at": say("changed at").lazy,
    "value": say("value").lazy,
    "secret": say("secret").lazy,
    "type": say("type").lazy,
    "choices": say("choices").lazy,
    "bucket_by": say("bucketing unit").lazy,
    "rules": say("rules").lazy,
    "conditions": say("conditions").lazy,
}
# Fields that are described in sentences, unless SQL has written JSON of another form.
_SENTENCES: dict[str, Callable[[object, int | None], str | None]] = {
    "rules": rules_text,
    "conditions": conditions_text,
}
# What most rows have says nothing of a row that was created or deleted.
_DEFAULTS = ((BUCKET_BY, USER), ("kind", "release"))
# What a column has that nobody has filled in.
_EMPTY: tuple[object, ...] = (None, "", [])
_ENABLED, _ROLLOUT, _PERCENT = "enabled", "rollout_percent", " %"
# How much of a changed JSON document is shown: parts, and characters of each.
_MAX_PARTS, MAX_PART = 5, 80
# The number of values of a condition in a text of limited length.
_MAX_VALUES = 5
# Where a change came from, by the first word of its source. Of a plan, the actor says it already.
_SOURCES = {
    "admin": say("in the admin").lazy,
    "code": say("in code").lazy,
    "command": say("in the terminal").lazy,
    "plan": "",
    "waiting": say("waiting action").lazy,
    "web": say("on the website").lazy,
}


class ChangePart(NamedTuple):
    """A part of a change, such as "rollout" and "25 → 50 %". One of the texts may be empty."""

    words: str
    values: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


class Authored(Protocol):
    """An event or an entry."""

    @property
    def actor(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def session_user(self) -> str: ...


class DescribableChange(Protocol):
    """An event, a step of an import that would become one, or a change that was written."""

    @property
    def action(self) -> str: ...
    @property
    def differences(self) -> Sequence[Difference]: ...
    @property
    def added(self) -> Users: ...
    @property
    def removed(self) -> Users: ...
    @property
    def undoes(self) -> Sequence[int]: ...


def describe_actor(event: Authored, names: Names | None = None) -> str:
    """Returns who made the change: the actor, or else the database user."""
    if event.actor is None:
        return say("{user} (database user)", user=event.session_user).local
    return (names or {}).get(event.actor, event.actor)


def by_actor(actor: str) -> str:
    """Returns by whom a change was made, such as "by ana"."""
    return say("by {actor}", actor=actor).local


def source_label(source: str) -> str:
    """Returns where a change was made, such as "in the admin"; a name of the project as it is."""
    name, blank, details = source.partition(" ")
    # Such as "waiting 12" and "command (ana@web-1)", and not "admin robot".
    label = _SOURCES.get(name)
    if label is None or details[:1].isalpha() or (details and not label):
        return source
    return f"{label}{blank}{details}"


def field_label(name: str) -> str:
    """Returns the name of a field, translated unless it is a column of the project."""
    return str(_FIELDS.get(name, name))


def describe_change(
    change: DescribableChange, names: Names | None = None, *, limit: int | None = None
) -> str:
    """Returns what was changed, such as "rollout 25 → 50 %". Users are named by `names`.

    `limit` is the length of each value, in characters, and of an object the members that differ
    are shown; None shows whole values.
    """
    return ", ".join(map(str, describe_parts(change, names, limit=limit)))


def describe_parts(
    change: DescribableChange, names: Names | None = None, *, limit: int | None = None
) -> list[ChangePart]:
    """Returns the parts of what `describe_change` returns; at least one."""
    parts = _row(change, limit)
    if count := change.added.count:
        text = say("added {count} allowed user", "added {count} allowed users")
        parts.append(ChangePart(say(text, count=count).local, _named(change.added, names)))
    if count := change.removed.count:
        text = say("removed {count} allowed user", "removed {count} allowed users")
        parts.append(ChangePart(say(text, count=count).local, _named(change.removed, names)))
    return parts or [ChangePart(say("details were removed from the history").local)]


def describe_value(
    value: object, *, field: str = "value", secret: bool = False, limit: int | None = None
) -> str:
    """Returns a value of a field as JSON, at most `limit` characters of it, or masked.

    Rules and conditions are sentences, with fewer values if there is a limit.

    True and false are translated, except those of the field "value", which are the user's JSON; a
    flag is on or off. A rollout has its unit.
    """
    if secret:
        return MASK
    if isinstance(value, bool) and field == _ENABLED:
        return say("on").local if value else say("off").local
    if isinstance(value, bool) and field != "value":
        return say("true").local if value else say("false").local
    if isinstance(value, LongJson):
        return localized(truncated(value.start, limit, value.length))
    if field == BUCKET_BY and isinstance(value, str) and value.strip():
        return localized(truncated(value, limit))
    most = None if limit is None else _MAX_VALUES
    sentence = _SENTENCES[field](value, most) if field in _SENTENCES else None
    text = sentence or json.dumps(value, ensure_ascii=False, cls=FieldEncoder)
    unit = _PERCENT if field == _ROLLOUT and isinstance(value, int) else ""
    return localized(truncated(text, limit)) + unit


def describe_difference(difference: Difference, limit: int | None = None) -> ChangePart:
    """Returns the change of a field, such as "rollout 25 → 50 %"."""
    if difference.field == _ENABLED and {difference.old, difference.new} == {True, False}:
        return ChangePart(say("turned on").local if difference.new else say("turned off").local)
    is_value = difference.field == "value"
    is_shown = is_value and not difference.secret and limit is not None
    parts = describe_json_change(difference.old, difference.new) if is_shown else None
    if changed := describe_rules(difference, limit):
        parts = first_parts([change.text for change in changed])
    if parts is not None:
        return ChangePart(field_label(difference.field), parts)
    old, new = describe_sides(difference, limit)
    if difference.field == "key":
        return ChangePart(say("renamed from {old} to {new}", old=old, new=new).local)
    if difference.field == _ROLLOUT and new.endswith(_PERCENT):
        old = old.removesuffix(_PERCENT)
    # Nobody says that a field was empty before, as the texts of a row that code declares.
    is_first = difference.old in _EMPTY and not (is_value or difference.secret)
    return ChangePart(field_label(difference.field), new if is_first else f"{old} → {new}")


def describe_rules(difference: Difference, limit: int | None = None) -> list[RuleChange] | None:
    """Returns the rules that differ; None for another field, and for rules of another form."""
    most = None if limit is None else _MAX_VALUES
    is_rules = difference.field == "rules"
    changes = rule_changes(difference.old, difference.new, most) if is_rules else None
    return changes and [_short_change(change, limit) for change in changes]


def _short_change(change: RuleChange, limit: int | None) -> RuleChange:
    """Returns the texts with at most `limit` characters of each rule: SQL can write any length."""
    old, new, text = (localized(truncated(text, limit)) for text in change)
    # Of one that has another place, the new text is a sentence about it.
    is_edited = bool(change.old and change.new) and change.text != change.new
    if limit is not None and is_edited and len(change.text) > limit:
        sides = _around_common_start(change.old, change.new, limit)
        text = " → ".join(localized(truncated(side, limit)) for side in sides)
    return RuleChange(old, new, text)


def _around_common_start(old: str, new: str, limit: int) -> tuple[str, str]:
    """Returns two texts without the words in which both go on alike, if one of them is too long.

    They would be cut off before what differs.
    """
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new)))  # noqa: B905
    head = old.rfind(" ", 0, min(limit // 3, alike)) + 1
    start = old.rfind(" ", 0, alike) + 1
    if max(len(old), len(new)) <= limit or start <= head:
        return old, new
    return f"{old[:head]}… {old[start:]}", f"{new[:head]}… {new[start:]}"


def describe_sides(difference: Difference, limit: int | None = None) -> tuple[str, str]:
    """Returns the old and the new value of a field, as `describe_value` does."""
    return _text(difference, difference.old, limit), _text(difference, difference.new, limit)


def describe_json_change(old: object, new: object) -> str | None:
    """Returns the members of an object that differ, such as "retries.max: 3 → 5".

    None if they do not differ, or are not both objects.
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return None
    parts = list(json_differences(old, new))
    return first_parts([*map(_part_text, parts)]) if parts else None


def first_parts(texts: Sequence[str]) -> str:
    """Returns some parts of a change, and the number of the others."""
    text = "; ".join(texts[:_MAX_PARTS])
    if count := len(texts) - min(len(texts), _MAX_PARTS):
        return say(
            "{parts}; and {count} more", "{parts}; and {count} more", count=count, parts=text
        ).local
    return text


def _part_text(part: JsonDifference) -> str:
    old, new = (describe_value(side, limit=MAX_PART) for side in (part.old, part.new))
    texts = {"path": path_text(part.path), "old": old, "new": new}
    if part.action == "added":
        return say("{path}: added {new}", **texts).local
    if part.action == "removed":
        return say("{path}: removed {old}", **texts).local
    return f"{texts['path']}: {old} → {new}"


def _row(change: DescribableChange, limit: int | None) -> list[ChangePart]:
    if change.action == "create":
        # An undo brings back what was deleted.
        words = say("restored") if change.undoes else say("created")
        return [ChangePart(words.local), *_fields(change.differences, "new", limit)]
    if change.action == "delete":
        declared = _of_declared(change)
        if declared is not None:
            return [_back_to_declared(change, declared, limit)]
        return [ChangePart(say("deleted").local), *_fields(change.differences, "old", limit)]
    return [describe_difference(difference, limit) for difference in change.differences]


def _of_declared(change: DescribableChange) -> Flag | Value[Any] | None:
    """Returns what code declares now for the row of an event; None if it declares nothing."""
    return declaration(Kind(change.kind).model, change.key) if isinstance(change, Event) else None


def _back_to_declared(
    change: DescribableChange, declared: Flag | Value[Any], limit: int | None
) -> ChangePart:
    """Returns what a deletion is that only ends the difference from the code.

    The default may have changed since, so it has the value before, and not the one afterwards.
    """
    own = [side for side in change.differences if side.field not in declared.owned]
    parts = _fields(own, "old", limit)
    if isinstance(declared, Flag):
        words = say("back to what is declared")
        previous = say("back to what is declared, previously")
        is_off = any(side.field == _ENABLED and side.old is False for side in own)
        parts = [ChangePart(say("off").local), *parts] if is_off else parts
    else:
        words, previous = say("back to the default"), say("back to the default, previously")
        # That it is a value is said beside its key.
        label = field_label("value")
        parts = [part._replace(words="") if part.words == label else part for part in parts]
    return ChangePart((previous if parts else words).local, ", ".join(map(str, parts)))


def _fields(
    differences: Iterable[Difference], side: Literal["old", "new"], limit: int | None
) -> list[ChangePart]:
    """The fields of a whole row that are neither empty nor as in most. Its key is shown elsewhere.

    The value of a key-value pair is always shown: 0 and false are values, too.
    """
    fields = [(difference, getattr(difference, side)) for difference in differences]
    return [
        ChangePart(say("on").local)
        if difference.field == _ENABLED and value is True
        else ChangePart(field_label(difference.field), _text(difference, value, limit))
        for difference, value in fields
        if difference.field == "value"
        or (
            value
            and difference.field not in ("key", "created_at")
            and (difference.field, value) not in _DEFAULTS
        )
    ]


def _text(difference: Difference, value: object, limit: int | None) -> str:
    return describe_value(value, field=difference.field, secret=difference.secret, limit=limit)


def _named(users: Users, names: Names | None) -> str:
    if names is None:
        return ""
    texts = (names.get(str(pk), str(pk)) for pk in users.pks)
    return f"({local_list(texts, total=users.count)})"


# The names of the users.


class HasPermissions(Protocol):
    """A user of Django's permission system."""

    def has_perm(self, perm: str, /) -> bool: ...


def names_of_actors(events: Iterable[Authored]) -> dict[str, str]:
    """Returns usernames by the text that the history stores as the actor.

    An actor that is not a primary key, such as "deploy", is left out. Queries the users.
    """
    return actor_table().names({event.actor for event in events if event.actor is not None})


def readable_names_of_actors(events: Collection[Authored]) -> dict[str, str]:
    """Returns usernames as `names_of_actors` does; none if the role may not read users."""
    if not events:
        return {}
    try:
        with transaction.atomic(using=actor_table().database):
            return names_of_actors(events)
    except Error:
        return {}


def names_of_users(events: Iterable[DescribableChange]) -> dict[str, str]:
    """Returns usernames by primary key of the added and removed users. Queries the users."""
    lists = (users for event in events for users in (event.added, event.removed))
    return allowed_user_table().names({str(pk) for users in lists for pk in users.pks})


def names_in(
    events: Collection[Event], others: Collection[Authored] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what names_of_actors and names_of_users return, in one query if one table has both.

    One dict may then have the names of the other, too. `others` only have actors.
    """
    authored = [*events, *others]
    if actor_table() != allowed_user_table():
        return names_of_actors(authored), names_of_users(events)
    lists = (users for event in events for users in (event.added, event.removed))
    pks = {str(pk) for users in lists for pk in users.pks}
    names = actor_table().names(
        pks | {record.actor for record in authored if record.actor is not None}
    )
    return names, names


def may_see_users(user: HasPermissions) -> bool:
    """Returns True if a person may see which users are allowed, and not only how many.

    The permission is "view" of the model that allowed users refer to.
    """
    meta = user_field(conf.flag_model).model._meta
    return user.has_perm(f"{meta.app_label}.view_{meta.model_name}")


# What differs between a document, “there”, and the database, “here”.


_ALLOWED = "allowed_users"


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
        yield SideLine("", _side_of_row(change, names, limit))
        return
    for difference in change.differences:
        yield SideLine(difference.field, _side_of_field(difference, limit))
    if users := _sides_of_users(change.added, change.removed, names):
        yield SideLine(_ALLOWED, users)


def _side_of_row(change: DescribableChange, names: Names, limit: int | None) -> str:
    is_there = change.action == "create"
    parts = [str(part) for part in describe_parts(change, names, limit=limit)[1:]]
    # An event says that a new flag is on; off is the default.
    if any(side.field == _ENABLED and not (side.new or side.old) for side in change.differences):
        parts.insert(0, say("off").local)
    row = ", ".join(parts)
    return _only_there(row) if is_there else _only_here(row)


def _side_of_field(difference: Difference, limit: int | None) -> str:
    here, there = difference.old, difference.new
    if difference.secret:
        return say("differs").local
    if changed := describe_rules(difference, limit):
        return first_parts([*map(_rule, changed)])
    if difference.field == "value" and isinstance(here, dict) and isinstance(there, dict):
        return first_parts([*map(_member, json_differences(here, there))])
    text_here, text_there = describe_sides(difference, limit)
    return _both(text_there, text_here)


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


def _sides_of_users(there: Users, here: Users, names: Names) -> str:
    texts = [_only_there(_named_side(there, names))] if there.count else []
    texts += [_only_here(_named_side(here, names))] if here.count else []
    return "; ".join(texts)


def _named_side(users: Users, names: Names) -> str:
    return local_list((names.get(str(pk), str(pk)) for pk in users.pks), total=users.count)
