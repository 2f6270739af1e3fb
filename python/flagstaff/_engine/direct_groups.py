"""The groups of users in direct mode."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from flagstaff._engine.raw_cursor import NotReadyError, Row, run_in_connection_thread, select
from flagstaff._engine.user_keys import key_parameter, key_to_text
from flagstaff._tables.names import group_names
from flagstaff.conf import conf

__all__ = ["read_groups", "read_groups_of"]

_GROUPS_OF_USER = (
    "SELECT g.{group_name} FROM {membership_table} AS m "
    "JOIN {group_table} AS g ON g.{group_pk} {equals} m.{membership_group} "
    "WHERE m.{membership_user} {equals} %s"
)
_MEMBERS = (
    "SELECT g.{group_name}, m.{membership_user} FROM {group_table} AS g "
    "LEFT JOIN {membership_table} AS m ON m.{membership_group} {equals} g.{group_pk}"
)
_IS_NAMED = "g.{group_name} {equals} %s"
# SQLite has a limit of parameters, and of the depth of an expression.
_MAX_NAMES = 500


def read_groups(names: list[str] | None) -> list[tuple[str, list[str]]] | None:
    """Returns the groups with these names, or all groups, with the keys of their members as text.

    Returns None if the groups of users cannot be read. Raises NotReadyError if the database cannot
    be queried.
    """
    if not _can_be_read():
        return None
    to_text, wanted = key_to_text(), None if names is None else {*names}
    members: dict[str, dict[str, None]] = {}
    for name, user_pk in run_in_connection_thread(lambda: [*_rows(names)]):
        # Some collations also match similar names.
        if name is not None and (wanted is None or name in wanted):
            keys = members.setdefault(name, {})
            if user_pk is not None:
                keys[to_text(user_pk)] = None
    return [(name, [*keys]) for name, keys in members.items()]


def read_groups_of(user: str | None) -> list[str] | None:
    """Returns the names of the groups of the user with this primary key, given as text.

    `user` is None for an anonymous user. Returns None if the groups of users cannot be read, or if
    the database cannot be queried.
    """
    if not _can_be_read():
        return None
    parameter = None if user is None else key_parameter(user)
    if parameter is None:
        return []
    try:
        rows = run_in_connection_thread(lambda: select(_GROUPS_OF_USER, [parameter]))
    except NotReadyError:
        return None
    return list(dict.fromkeys(name for [name] in rows if name is not None))


def _can_be_read() -> bool:
    return bool(group_names(connections[conf.database]))


def _rows(names: list[str] | None) -> Iterator[Row]:
    if names is None:
        yield from select(_MEMBERS, [])
        return
    for start in range(0, len(names), _MAX_NAMES):
        batch = names[start : start + _MAX_NAMES]
        named = " OR ".join([_IS_NAMED] * len(batch))
        yield from select(f"{_MEMBERS} WHERE {named}", batch)
