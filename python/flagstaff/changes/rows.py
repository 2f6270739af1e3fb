"""A row of a flag or a value, whole or in part: set, rewritten, created, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.users import allowed_user_table
from flagstaff.changes import allowed_users
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed, Undo, undo_by_version
from flagstaff.changes.fields import clocks, differing, insert, touch, validate_new, write
from flagstaff.changes.locking import check_version, locked_row
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError, UnknownFlagError, UnknownValueError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries_of_key, has_history, version_of

__all__ = [
    "Moves",
    "create_row",
    "delete_row",
    "deleted_pk",
    "edit_row",
    "remove",
    "rewrite",
    "set_field",
]

Back = Callable[[Any], "tuple[str, ...] | None"]


@dataclass(frozen=True)
class Moves:
    """Who is to come to an allow-list, and who to go from it."""

    come: tuple[Any, ...] = ()
    go: tuple[Any, ...] = ()
    #: Who would come, and is not there any more.
    missing: tuple[Any, ...] = ()


def set_field(  # noqa: PLR0913, PLR0917 (what to set, where, over what, and how back)
    kind: Kind, key: str, name: str, new: Any, expect_version: int | None, back: Back
) -> Changed:
    """Set one field. `back` gives what is typed to set the old one again, where it can be typed."""
    with locked_row(kind, key) as row:
        old, secret = getattr(row, name), is_secret(row)
        if not differing(row, {name: new}):
            version = version_of(kind, row.pk)
            return Changed(key, name, old, new, written=False, version=version, secret=secret)
        check_version(kind, key, row.pk, expect_version)
        write(row, {name: new})
        version = version_of(kind, row.pk)
    typed = None if secret else back(old)
    undo = Undo(typed) if typed else _undo(kind, key, version, secret=secret)
    return Changed(key, name, old, new, written=True, version=version, undo=undo, secret=secret)


def edit_row(
    kind: Kind, key: str, fields: Mapping[str, Any], expect_version: int | None
) -> Changed:
    """Set several fields, and the whole allow-list if it is among them."""
    fields = dict(fields)
    users = allowed_user_table().pks_of(fields.pop(ALLOWED)) if ALLOWED in fields else None
    with locked_row(kind, key) as row:
        moves = Moves() if users is None else _moves(row, users)
        return rewrite(kind, row, fields, moves, expect_version)


def rewrite(
    kind: Kind, row: Any, fields: Mapping[str, Any], moves: Moves, expect_version: int | None
) -> Changed:
    """Write what differs of a locked row and its allow-list."""
    fields, key = differing(row, fields), row.key
    old: dict[str, Any] = {name: getattr(row, name) for name in fields}
    new: dict[str, Any] = dict(fields)
    if moves.come or moves.go:
        old[ALLOWED], new[ALLOWED] = list(moves.go), list(moves.come)
    written, secret = bool(new), is_secret(row)
    if written:
        check_version(kind, key, row.pk, expect_version)
        _write(row, fields, moves)
        secret = secret or is_secret(row)
    version = version_of(kind, row.pk)
    undo = _undo(kind, row.key, version, secret=secret and "value" in new) if written else None
    return Changed(row.key, "", old, new, written, version, undo, secret, moves.missing)


def create_row(kind: Kind, key: str, fields: Mapping[str, Any]) -> Changed:
    """Make a row, unless there is one like it."""
    fields = dict(fields)
    users = allowed_user_table().pks_of(fields.pop(ALLOWED, ()))
    row = _made(kind, key, fields)
    with transaction.atomic(using=conf.database):
        present = _present(kind, key)
        if present is not None:
            return _unless_like(kind, present, row, users)
        moves = _moves_to_new(users)
        try:
            insert(row)
        except InvalidChangeError:
            # Whoever sent the same at the same moment was faster.
            present = _present(kind, key)
            if present is None:
                raise
            return _unless_like(kind, present, row, users)
        allowed_users.move_users(row, moves.come, ())
        version = version_of(kind, row.pk)
    new = _all_fields(row) | ({ALLOWED: users} if users else {})
    yes = ("delete", key, "--yes") if kind is Kind.FLAG else ("value", "delete", key, "--yes")
    return Changed(
        key, "", None, new, written=True, version=version, undo=Undo(yes), secret=is_secret(row)
    )


def delete_row(kind: Kind, key: str, expect_version: int | None) -> Changed:
    """Delete a row, unless that was done already."""
    with transaction.atomic(using=conf.database):
        row = _present(kind, key)
        if row is not None:
            check_version(kind, key, row.pk, expect_version)
            return remove(kind, row)
        pk = deleted_pk(kind, key)
        if pk is None:
            kind.row(key)
        return Changed(key, "", None, None, written=False, version=version_of(kind, pk))


def remove(kind: Kind, row: Any) -> Changed:
    """Delete a locked row with its allow-list."""
    key, pk, old, secret = row.key, row.pk, _all_fields(row), is_secret(row)
    if kind is Kind.FLAG:
        old[ALLOWED] = sorted(allowed_users.allowed_pks(row), key=str)
    row.delete(using=conf.database)
    version = version_of(kind, pk)
    undo = _undo(kind, key, version, secret=secret)
    return Changed(key, "", old, None, written=True, version=version, undo=undo, secret=secret)


def deleted_pk(kind: Kind, key: str) -> str | None:
    """The primary key of what had this key and was deleted, if the history knows of it."""
    if not has_history():
        return None
    newest = entries_of_key(kind, key).order_by("-id").first()
    return None if newest is None or newest.new is not None else newest.object_pk


def _present(kind: Kind, key: str) -> Any:
    try:
        return kind.row(key, lock=True)
    except (UnknownFlagError, UnknownValueError):
        return None


def _made(kind: Kind, key: str, fields: Mapping[str, Any]) -> Any:
    try:
        row = kind.model(key=key, **fields)
        validate_new(row)
    except TypeError as error:
        raise InvalidChangeError(str(error)) from error
    except ValidationError as error:
        told = (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
        raise InvalidChangeError("; ".join(told)) from error
    return row


def _unless_like(kind: Kind, present: Any, row: Any, users: list[Any]) -> Changed:
    """Nothing to do where it is the same, as after a form was sent twice."""
    same = not differing(present, _all_fields(row))
    if not same or (kind is Kind.FLAG and allowed_users.allowed_pks(present) != set(users)):
        raise InvalidChangeError(f"there is a {kind.value} {present.key!r} already")
    version, fields = version_of(kind, present.pk), _all_fields(present)
    secret = is_secret(present)
    return Changed(present.key, "", fields, fields, written=False, version=version, secret=secret)


def _all_fields(row: Model) -> dict[str, Any]:
    """What a person has said of a row: neither its primary key nor its times."""
    moved = {*clocks(row), *_times_of_birth(row)}
    fields = row._meta.local_concrete_fields
    told = (field for field in fields if not field.primary_key and field.name not in moved)
    return {field.name: getattr(row, field.attname) for field in told}


def _times_of_birth(row: Model) -> list[str]:
    fields = row._meta.local_concrete_fields
    return [field.name for field in fields if getattr(field, "auto_now_add", False)]


def _moves(row: Any, users: list[Any]) -> Moves:
    present, wanted = allowed_users.allowed_pks(row), set(users)
    come = [pk for pk in users if pk not in present]
    moves = _moves_to_new(come)
    return Moves(moves.come, tuple(sorted(present - wanted, key=str)))


def _moves_to_new(users: Iterable[Any]) -> Moves:
    users = tuple(users)
    allowed_user_table().require(users)
    return Moves(users)


def _write(row: Any, fields: Mapping[str, Any], moves: Moves) -> None:
    if moves.come or moves.go:
        allowed_users.move_users(row, moves.come, moves.go)
    if fields:
        write(row, fields)
    else:
        touch(row)


def _undo(kind: Kind, key: str, version: int | None, *, secret: bool) -> Undo | None:
    return None if secret else undo_by_version(kind, key, version)
