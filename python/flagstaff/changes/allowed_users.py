"""Who has a flag in any case: a flag's allow-list, changed for one user or for very many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flagstaff._tables.users import allowed_user_table, batches
from flagstaff.changes.changed import Changed, Undo, undo_by_version
from flagstaff.changes.fields import touch
from flagstaff.changes.locking import check_version, locked_row
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of

__all__ = [
    "ALLOWED",
    "add_allowed_users",
    "allowed_pks",
    "move_users",
    "remove_allowed_users",
]

ALLOWED = "allowed_users"
# An undo for more users than this is no line to be typed.
_MOST_TYPED = 20


def add_allowed_users(
    key: str, users: Any, *, expect_version: int | None = None, skip_unknown: bool = False
) -> Changed:
    """Put users on a flag's allow-list: one, or any number, each a user or a primary key.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError where somebody is no user; with
    `skip_unknown` these are left out, and named in what it gives.
    """
    table = allowed_user_table()
    wanted = table.pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        here = table.existing(wanted) if skip_unknown else table.require(wanted)
        missing = tuple(pk for pk in wanted if pk not in here)
        present = allowed_pks(flag)
        come = [pk for pk in wanted if pk in here and pk not in present]
        return _changed(flag, come, [], expect_version, missing)


def remove_allowed_users(key: str, users: Any, *, expect_version: int | None = None) -> Changed:
    """Take users off a flag's allow-list. Who is not on it is left alone.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError for what cannot be a user.
    """
    wanted = allowed_user_table().pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        present = allowed_pks(flag)
        return _changed(flag, [], [pk for pk in wanted if pk in present], expect_version)


def move_users(flag: Any, come: Iterable[Any], go: Iterable[Any]) -> None:
    """Let users go from the allow-list of a locked flag, and others come."""
    for pks in batches(go):
        flag.allowed_users.remove(*pks)
    for pks in batches(come):
        flag.allowed_users.add(*pks)


def allowed_pks(flag: Any) -> set[Any]:
    """Who is on the allow-list of a flag, in the database that is written to."""
    many: Any = flag._meta.get_field(ALLOWED)
    through = many.remote_field.through._base_manager.using(conf.database)
    names = many.m2m_field_name(), many.m2m_reverse_field_name()
    flag_id, user_id = (through.model._meta.get_field(name).attname for name in names)
    of = many.remote_field.through._meta.get_field(names[0]).target_field.attname
    return set(through.filter(**{flag_id: getattr(flag, of)}).values_list(user_id, flat=True))


def _changed(
    flag: Any,
    come: list[Any],
    go: list[Any],
    expect_version: int | None,
    missing: tuple[Any, ...] = (),
) -> Changed:
    written = bool(come or go)
    if written:
        check_version(Kind.FLAG, flag.key, flag.pk, expect_version)
        move_users(flag, come, go)
        touch(flag)
    version = version_of(Kind.FLAG, flag.pk)
    undo = _undo(flag.key, come, go, version) if written else None
    return Changed(flag.key, ALLOWED, go, come, written, version, undo, missing=missing)


def _undo(key: str, come: list[Any], go: list[Any], version: int | None) -> Undo | None:
    typed = [str(pk) for pk in come or go]
    if version and (len(typed) > _MOST_TYPED or any(pk.startswith("-") for pk in typed)):
        return undo_by_version(Kind.FLAG, key, version)
    return Undo(("allow", key, *typed, *(["--remove"] if come else [])))
