"""Entries → events: what one transaction did to one flag or value, by one hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from flagstaff.history.kinds import ALLOWED_USERS, Kind

__all__ = ["Columns", "Difference", "Event", "Row", "Users", "as_events"]

Action = Literal["create", "change", "delete"]
#: An entry, as `entries.py` reads it.
Row = Mapping[str, Any]

_VALUE = "value"
_CLAIM = "actor", "source", "reason", "session_user", "role", "application_name"


@dataclass(frozen=True)
class Difference:
    """A field that an event changed."""

    field: str
    old: Any
    new: Any
    #: Whether it is a secret value. Then the history does not give it, and both are None.
    secret: bool = False


@dataclass(frozen=True)
class Users:
    """Users that added to an allow-list, or removed from it."""

    count: int = 0
    #: Their primary keys; of a long list the first ones alone.
    pks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Event:
    """What one transaction did to one flag or value, by one hand."""

    #: The version that it made.
    version: int
    #: Its oldest entry: the version before is below this.
    first: int
    at: datetime
    #: Events of one transaction belong together.
    transaction_id: int
    kind: Literal["flag", "value"]
    key: str
    object_pk: str
    action: Action
    #: The fields of the row. For what was created or deleted, all of them.
    differences: tuple[Difference, ...]
    added: Users
    removed: Users
    #: What the application claims, or None.
    actor: str | None
    source: str | None
    reason: str | None
    #: What the database knows.
    session_user: str
    role: str
    application_name: str


@dataclass(frozen=True)
class Columns:
    """How the columns of a model are to be read."""

    #: The names of its fields by their columns.
    names: Mapping[str, str]
    #: Those that are no change in themselves: the primary key, and what a save moves.
    silent: Collection[str]


def as_events(
    newest_first: Iterable[Row],
    columns: Mapping[Kind, Columns],
    secrets: Collection[str],
    *,
    most_users: int | None = None,
) -> Iterator[Event]:
    """The events that these entries tell of, newest first.

    `secrets` are the primary keys of those values that were ever secret.
    """
    for group in _groups(newest_first):
        kind = Kind.of(group[0]["relation"])
        hidden = kind is Kind.VALUE and group[0]["object_pk"] in secrets
        event = _event(group, kind, columns[kind], hidden=hidden)
        yield replace(
            event, added=_cut(event.added, most_users), removed=_cut(event.removed, most_users)
        )


def _groups(newest_first: Iterable[Row]) -> Iterator[list[Row]]:
    """Entries about one row that stand next to each other and were made by one hand.

    A transaction that writes to many rows gives one group for each.
    """
    open_groups: dict[tuple[Kind, str], list[Row]] = {}
    transaction: int | None = None
    for entry in newest_first:
        if entry["transaction_id"] != transaction:
            yield from open_groups.values()
            open_groups, transaction = {}, entry["transaction_id"]
        of = Kind.of(entry["relation"]), entry["object_pk"]
        group = open_groups.get(of)
        if group and not _same_author(group[0], entry):
            yield open_groups.pop(of)
            group = None
        if group is None:
            open_groups[of] = [entry]
        else:
            group.append(entry)
    yield from open_groups.values()


def _same_author(one: Row, other: Row) -> bool:
    return all(one[name] == other[name] for name in _CLAIM)


def _event(group: list[Row], kind: Kind, columns: Columns, *, hidden: bool) -> Event:
    newest, oldest = group[0], group[-1]
    rows = [entry for entry in group if entry["relation"] != ALLOWED_USERS]
    lists = [entry for entry in reversed(group) if entry["relation"] == ALLOWED_USERS]
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
        added=_users(lists, "new", "added"),
        removed=_users(lists, "old", "removed"),
        **{name: newest[name] for name in _CLAIM},
    )


def _action(rows: list[Row], old: Any, new: Any) -> Action:
    if not rows or (old is not None and new is not None):
        return "change"
    return "delete" if new is None else "create"


def _differences(
    old: dict[str, Any], new: dict[str, Any], columns: Columns, *, hidden: bool
) -> Iterator[Difference]:
    known = {column: None for column in columns.names if column in old or column in new}
    for column in {**known, **old, **new}:
        if column in columns.silent or _same(old, new, column):
            continue
        name = columns.names.get(column, column)
        if hidden and name == _VALUE:
            yield Difference(name, None, None, secret=True)
        else:
            yield Difference(name, old.get(column), new.get(column))


def _same(old: dict[str, Any], new: dict[str, Any], column: str) -> bool:
    """Whether a column has the same JSON in both; in Python True equals 1."""
    if column not in old or column not in new:
        return False
    return repr(old[column]) == repr(new[column])


def _users(lists: list[Row], field: str, counted: str) -> Users:
    pks = tuple(pk for entry in lists for pk in sorted(entry[field], key=_order))
    return Users(sum(entry[counted] for entry in lists), pks)


def _order(pk: Any) -> tuple[bool, Any]:
    """Of a primary key; a table of the project's own may have a place for nobody."""
    return pk is None, pk


def _cut(users: Users, most: int | None) -> Users:
    return Users(users.count, users.pks[:most])
