"""Restore: every field and the whole allow-list as they were at a version. It is a change too."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any

from django.db import transaction

from flagstaff._tables.model_fields import (
    auto_now_add_fields,
    is_auto_now,
    is_generated,
    stored_fields,
)
from flagstaff._tables.rows import all_rows
from flagstaff._tables.users import allowed_user_table
from flagstaff.changes import allowed_users
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed, undo_by_version
from flagstaff.changes.fields import insert
from flagstaff.changes.locking import check_version
from flagstaff.changes.past import Kept, Target, as_kept, find, kept_row, state_at
from flagstaff.changes.rows import Moves, rewrite
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.folding import State
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import was_ever_secret
from flagstaff.history.versions import entries, version_of

__all__ = ["bring_back", "kept_fields", "masked", "moves_to", "restore", "restore_value"]

_VALUE = "value"


def restore(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Make a flag what it was right after the change `to`: every field and the whole allow-list.

    A flag that was deleted comes back under its old primary key. Users who are not there any more
    are left out, and named in `missing`. Raises UnknownFlagError, ConflictError, NoHistoryError, or
    InvalidChangeError where there is no such change of this flag.
    """
    return _restore(Kind.FLAG, key, to, expect_version)


def restore_value(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """The same for a value. Of a secret one the history keeps a digest alone."""
    return _restore(Kind.VALUE, key, to, expect_version)


def _restore(kind: Kind, key: str, to: int, expect_version: int | None) -> Changed:
    with transaction.atomic(using=conf.database):
        target = find(kind, key)
        if not entries(kind, target.pk).filter(id=to).exists():
            raise InvalidChangeError(f"there is no change {to} in the history of {key}")
        then = state_at(target, to)
        if then.row is None:
            raise InvalidChangeError(f"{key} was not there at version {to}; delete it instead")
        if target.row is None:
            return bring_back(target, then, expect_version)
        fields = kept_fields(target, then.row)
        moves = moves_to(target, then.users)
        return masked(target, rewrite(kind, target.row, fields, moves, expect_version))


def bring_back(target: Target, then: State, expect_version: int | None) -> Changed:
    """Make a row that was deleted again."""
    if then.row.digest:
        raise InvalidChangeError(_only_a_digest(target.key))
    check_version(target.kind, target.key, target.pk, expect_version)
    row = kept_row(target, then.row)
    _fill_new_columns(row, then.row)
    # A save takes the present for the time of birth, and changes the instance.
    born = {name: getattr(row, name) for name in _times_of_birth(row, then.row)}
    row._state.adding = True
    insert(row)
    if born:
        all_rows(target.kind.model).filter(pk=row.pk).update(**born)
    moves = _moves(then.users, frozenset())
    allowed_users.move_users(row, moves.come, ())
    version = version_of(target.kind, row.pk)
    new = {field.name: getattr(row, field.attname) for field in _kept(target, then.row)}
    new |= {ALLOWED: list(moves.come)} if moves.come else {}
    undo = undo_by_version(target.kind, row.key, version)
    changed = Changed(
        row.key, "", None, new, written=True, version=version, undo=undo, missing=moves.missing
    )
    return masked(target, changed)


def masked(target: Target, changed: Changed) -> Changed:
    """DeliveryReport without its value, where the history does not give it either."""
    hidden = changed.secret or was_ever_secret(target.kind, target.pk)
    return replace(changed, secret=hidden)


def kept_fields(target: Target, kept: Kept, columns: Iterable[str] | None = None) -> dict[str, Any]:
    """The fields of a row as it was; all of them, or those of these columns."""
    fields = [field for field in _kept(target, kept) if columns is None or field.column in columns]
    if kept.digest and any(field.name == _VALUE for field in fields):
        fields = [field for field in fields if field.name != _VALUE]
        present = as_kept(target, digest=True).columns
        value: Any = target.kind.model._meta.get_field(_VALUE)
        if present[value.column] != kept.columns[value.column]:
            raise InvalidChangeError(_only_a_digest(target.key))
    row = kept_row(target, kept)
    return {field.attname: getattr(row, field.attname) for field in fields}


def moves_to(target: Target, users: frozenset[Hashable]) -> Moves:
    """From the present allow-list to this one."""
    if target.kind is Kind.VALUE:
        return Moves()
    return _moves(users, frozenset(allowed_users.allowed_pks(target.row)))


def _moves(wanted: frozenset[Hashable], present: frozenset[Hashable]) -> Moves:
    come = wanted - present
    here = allowed_user_table().existing(come)
    return Moves(_ordered(here), _ordered(present - wanted), _ordered(come - here))


def _ordered(pks: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(pks, key=str))


def _kept(target: Target, kept: Kept) -> list[Any]:
    """The fields that a person may have changed and that the row had already."""
    return [
        field
        for field in stored_fields(target.kind.model)
        if field.column in kept.columns
        and not field.primary_key
        and not is_auto_now(field)
        and not is_generated(field)
    ]


def _fill_new_columns(row: Any, kept: Kept) -> None:
    """Give a row that comes back the defaults of what the table has only had since."""
    for field in stored_fields(type(row)):
        if field.column not in kept.columns and not is_generated(field):
            setattr(row, field.attname, field.get_default())


def _times_of_birth(row: Any, kept: Kept) -> list[str]:
    fields = auto_now_add_fields(type(row))
    return [field.attname for field in fields if field.column in kept.columns]


def _only_a_digest(key: str) -> str:
    return f"the history keeps a digest of {key}, for it is secret, and not the value itself"
