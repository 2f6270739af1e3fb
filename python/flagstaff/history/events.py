"""Turns entries into events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from flagstaff._events import Action, Difference, Event, Users
from flagstaff._tables.decoding import SECRET_FIELDS
from flagstaff._tables.rows import Fields
from flagstaff.history.grouping import AUTHOR, Entry, Group, group_entries
from flagstaff.history.kinds import ALLOWED_USERS, Kind

_VALUE = "value"


class Authored(Protocol):
    """An event or an entry."""

    @property
    def actor(self) -> str | None: ...
    @property
    def session_user(self) -> str: ...


@dataclass(frozen=True)
class Columns:
    """How to read the columns of a model."""

    #: Field names by column.
    names: Mapping[str, str]
    #: Columns that are no change by themselves: the primary key and auto_now fields.
    ignored: Collection[str]


def as_events(
    newest_first: Iterable[Entry],
    columns: Mapping[Kind, Columns],
    secrets: Collection[str],
    *,
    max_users: int | None = None,
) -> Iterator[Event]:
    """Yields the events that these entries make up, newest first.

    `secrets` are the primary keys of all values that were ever secret.
    """
    for group in group_entries(newest_first):
        kind = Kind.of(group[0]["relation"])
        hidden = kind is Kind.VALUE and group[0]["object_pk"] in secrets
        event = _event(group, kind, columns[kind], hidden=hidden)
        added, removed = (_cut(users, max_users) for users in (event.added, event.removed))
        yield replace(event, added=added, removed=removed)


def difference(name: str, old: object, new: object, *, secret: bool) -> Difference:
    """Returns the difference of a field, without its values if it shows those of a `secret` row."""
    if secret and name in SECRET_FIELDS and (name == _VALUE or old or new):
        return Difference(name, None, None, secret=True)
    return Difference(name, old, new)


def same_json(left: object, right: object) -> bool:
    """Returns True if both are the same JSON. In Python, True equals 1 and 1 equals 1.0."""
    return repr(left) == repr(right)


def _event(group: Group, kind: Kind, columns: Columns, *, hidden: bool) -> Event:
    newest, oldest = group[0], group[-1]
    rows = [entry for entry in group if entry["relation"] != ALLOWED_USERS]
    user_lists = [entry for entry in reversed(group) if entry["relation"] == ALLOWED_USERS]
    old, new = (rows[-1]["old"], rows[0]["new"]) if rows else (None, None)
    return Event(
        version=newest["id"],
        first=oldest["id"],
        at=newest["at"],
        transaction_id=newest["transaction_id"],
        kind=kind.value,
        key=newest["key"],
        object_pk=newest["object_pk"],
        action=_action(rows, old, new),
        differences=tuple(_differences(old or {}, new or {}, columns, hidden=hidden)),
        added=_users(user_lists, "new", "added"),
        removed=_users(user_lists, "old", "removed"),
        **{name: newest[name] for name in AUTHOR},
        undoes=tuple(dict.fromkeys(pair for entry in group for pair in ranges_of(entry))),
    )


def ranges_of(entry: Entry) -> Iterator[tuple[int, int]]:
    """Yields the events that an entry takes back. SQL may write any JSON."""
    stored = entry.get("undoes")
    for pair in stored if isinstance(stored, list) else ():
        match pair:
            case [int() as first, int() as last]:
                yield first, last


def _action(rows: Group, old: object, new: object) -> Action:
    if not rows or (old is not None and new is not None):
        return "change"
    return "delete" if new is None else "create"


def _differences(
    old: Fields, new: Fields, columns: Columns, *, hidden: bool
) -> Iterator[Difference]:
    in_model_order = [column for column in columns.names if column in old or column in new]
    for column in dict.fromkeys([*in_model_order, *old, *new]):
        both = column in old and column in new
        if column in columns.ignored or (both and same_json(old[column], new[column])):
            continue
        name = columns.names.get(column, column)
        yield difference(name, old.get(column), new.get(column), secret=hidden)


def _users(user_lists: Group, column: str, count: str) -> Users:
    pks = tuple(pk for entry in user_lists for pk in sorted(entry[column], key=_null_last))
    return Users(sum(entry[count] for entry in user_lists), pks)


def _null_last(pk: Any) -> tuple[bool, Any]:
    """A sort key. The user column of a project's own table may contain NULL."""
    return pk is None, pk


def _cut(users: Users, limit: int | None) -> Users:
    return Users(users.count, users.pks[:limit])
