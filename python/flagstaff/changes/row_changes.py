"""Changes one row of a flag or a value: one field, several fields, creation, deletion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import transaction

from flagstaff._stored_value_schema import SECRET_FIELDS, is_secret
from flagstaff._tables.model_fields import is_auto_now, is_auto_now_add, stored_fields
from flagstaff._tables.rows import Fields, PrimaryKey, Row, model_of
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._taken_keys import key_is_taken, taken_keys
from flagstaff._words.text import Text, marked, some, text_of
from flagstaff.changes.allowed_users import (
    ALLOWED,
    AllowedUsersChange,
    allowed_pks,
    change_allowed_users,
    in_order,
    users_to_change,
)
from flagstaff.changes.changed import DELETE_VERBS, Changed, Undo, undo_by_version
from flagstaff.changes.fields import (
    clean_each,
    cleaned,
    differing,
    impossible_problems,
    insert,
    require_none,
    touch,
    write,
)
from flagstaff.changes.kept_by_rules import kept_by_rules
from flagstaff.changes.locking import locked_row, require_version
from flagstaff.changes.preview import is_preview
from flagstaff.changes.segment_use import require_unused
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk, version_of

_EXISTS = {
    Kind.FLAG: marked("a flag {key} already exists; change it, or use another key"),
    Kind.VALUE: marked("a value {key} already exists; change it, or use another key"),
    Kind.SEGMENT: marked("a segment {key} already exists; change it, or use another key"),
}

#: From the old value of a field to the arguments of the command that sets it again, if any can.
UndoArguments = Callable[[object], "tuple[str, ...] | None"]


def set_field(  # noqa: PLR0913, PLR0917 (which field, its value, the condition, and the undo)
    kind: Kind,
    key: str,
    name: str,
    new: object,
    expect_version: int | None,
    undo_arguments: UndoArguments,
) -> Changed:
    """Sets one field."""
    changed = update_row(kind, key, {name: new}, expect_version)
    if not changed.written:
        return replace(changed, field=name, old=new, new=new)
    old = changed.old[name]
    arguments = None if changed.secret else undo_arguments(old)
    undo = Undo(arguments) if arguments else changed.undo
    return replace(changed, field=name, old=old, new=changed.new[name], undo=undo)


def update_row(
    kind: Kind,
    key: str,
    fields: Fields,
    expect_version: int | None,
    expect: Fields | None = None,
) -> Changed:
    """Sets several fields, and the allowed users if they are among them."""
    fields, expect = dict(fields), dict(expect or {})
    users = _pop_users(fields)
    seen = _pop_users(expect)
    with locked_row(kind, key) as row:
        change = AllowedUsersChange()
        if users is not None:
            present = allowed_pks(row)
            target = users if seen is None else _merge(present, users, seen)
            change = users_to_change(present, target)
        _require_fields(row, fields, expect)
        new = differing(row, fields)
        if new or change:
            require_version(kind, row.key, row.pk, expect_version)
        fresh = cleaned(row, new)
        if "key" in fresh:
            _require_free(kind, [fresh["key"]])
        planned = planned_change(row, fresh, change)
        if not planned.new:
            kept = kept_by_rules(row, fields)
            version = version_of(kind, row.pk)
            return replace(planned, kept_by_rules=kept, version=version)
        write_fields(row, planned, change)
        return finished(kind, planned, version_of(kind, row.pk))


def write_fields(
    row: Row, planned: Changed, users: AllowedUsersChange, *, savepoint: bool = True
) -> None:
    """Writes a planned change of a locked row. `savepoint` works as in `write`."""
    if users:
        change_allowed_users(row, users)
    if fields := {name: new for name, new in planned.new.items() if name != ALLOWED}:
        write(row, fields, savepoint=savepoint)
    else:
        touch(row)


def finished(kind: Kind, planned: Changed, version: int | None) -> Changed:
    """Returns the result of a planned change that was written."""
    old, new = planned.old or {}, planned.new or {}
    key = new.get("key", planned.key)
    undo = None if _is_lost(old, secret=planned.secret) else undo_by_version(kind, key, version)
    return replace(planned, key=key, written=True, version=version, undo=undo)


def planned_change(row: Row, fields: Fields, users: AllowedUsersChange) -> Changed:
    """Returns what `write_fields` would write. Writes nothing, and does not query."""
    fields = _in_model_order(row, differing(row, fields))
    # Of a foreign key the value of its column: the row that it names may be gone.
    columns = {one.name: one.attname for one in row._meta.concrete_fields}
    old: dict[str, Any] = {name: getattr(row, columns[name]) for name in fields}
    new: dict[str, Any] = dict(fields)
    if users:
        old[ALLOWED], new[ALLOWED] = list(users.removed), list(users.added)
    secret = is_secret(row) or bool(new.get("secret"))
    planned = Changed(row.key, "", old, new, written=False, secret=secret, missing=users.missing)
    return replace(planned, kept_by_rules=kept_by_rules(row, new))


def create_row(kind: Kind, key: str, fields: Fields) -> Changed:
    """Creates a row, unless an equal one exists."""
    fields = dict(fields)
    users = allowed_user_table().pks_of(fields.pop(ALLOWED, ()))
    row = _new_row(kind, key, fields)
    with transaction.atomic(using=conf.database):
        present = kind.find(key, lock=not is_preview())
        if present is not None:
            return _exists_already(kind, present, row, users)
        _require_free(kind, [key])
        change = users_to_change((), users)
        try:
            insert(row)
        except InvalidChangeError:
            # A concurrent call may have created the same row.
            present = kind.find(key, lock=True)
            if present is None:
                raise
            return _exists_already(kind, present, row, users)
        if change:
            change_allowed_users(row, change)
        version = version_of(kind, row.pk)
    return _created(kind, row, users, version)


def delete_row(kind: Kind, key: str, expect_version: int | None) -> Changed:
    """Deletes a row. Does nothing if it was deleted already."""
    with transaction.atomic(using=conf.database):
        row = kind.find(key, lock=not is_preview())
        if row is not None:
            require_version(kind, key, row.pk, expect_version)
            return delete_locked_row(kind, row)
        pk = deleted_pk(kind, key)
        if pk is None:
            kind.row(key)  # Raises, because there is no such row.
        return Changed(key, "", None, None, written=False, version=version_of(kind, pk))


def delete_locked_row(kind: Kind, row: Row) -> Changed:
    """Deletes a locked row and its allowed users."""
    planned = planned_deletion(row, allowed_pks(row) if kind is Kind.FLAG else None)
    pk = row.pk
    if kind is Kind.SEGMENT:
        require_unused(row.key)
    if not is_preview():
        row.delete(using=conf.database)
    return finished(kind, planned, version_of(kind, pk))


def planned_deletion(row: Row, users: Collection[PrimaryKey] | None) -> Changed:
    """Returns what a deletion would change. `users` are those of a flag; None for others."""
    old = _editable_fields(row) | ({} if users is None else {ALLOWED: list(in_order(users))})
    return Changed(row.key, "", old, None, written=False, secret=is_secret(row))


def _created(kind: Kind, row: Row, users: list[PrimaryKey], version: int | None) -> Changed:
    new = _editable_fields(row) | ({ALLOWED: users} if users else {})
    undo = Undo((*DELETE_VERBS[kind], row.key, "--yes"))
    return Changed(
        row.key, "", None, new, written=True, version=version, undo=undo, secret=is_secret(row)
    )


def _pop_users(fields: dict[str, object]) -> list[PrimaryKey] | None:
    """Takes the allowed users out of the fields; None if they are not among them."""
    return allowed_user_table().pks_of(fields.pop(ALLOWED)) if ALLOWED in fields else None


def _merge(
    present: set[PrimaryKey], users: list[PrimaryKey], seen: list[PrimaryKey]
) -> list[PrimaryKey]:
    """Returns the present users with the difference between those that were seen and the new."""
    old = set(seen)
    added = [pk for pk in users if pk not in old]
    removed = old.difference(users)
    return [*in_order(present - removed), *added]


def _require_fields(row: Row, fields: Fields, expect: Fields) -> None:
    """Raises ConflictError if a field has another value than expected, and not the new one."""
    to_write = differing(row, fields)
    changed = [name for name in differing(row, expect) if name not in fields or name in to_write]
    if changed:
        # Without the values: one of them may be secret.
        raise ConflictError(
            Text(
                "{key} has changed since you read it: {fields}; read it again",
                key=row.key,
                fields=some(changed),
            ),
            key=row.key,
        )


def _new_row(kind: Kind, key: str, fields: Fields) -> Row:
    try:
        row = kind.model(key=key, **fields)
    except TypeError as error:
        raise InvalidChangeError(str(error)) from error
    # Where Django raises a TypeError, it does not name the field.
    require_none(clean_each(cast("Row", row), fields)[1])
    try:
        row.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        require_none({name: text_of(one) for name, one in error.error_dict.items()})
    require_none(impossible_problems(row, _editable_fields(cast("Row", row))))
    return cast("Row", row)


def _require_free(kind: Kind, keys: Iterable[str]) -> None:
    for key, other in () if kind is Kind.SEGMENT else taken_keys(kind.value, keys).items():
        raise InvalidChangeError(key_is_taken(key, other))


def _exists_already(kind: Kind, present: Row, row: Row, users: list[PrimaryKey]) -> Changed:
    """Nothing to do if the rows are equal, as after a form was sent twice."""
    equal = not differing(present, _editable_fields(row))
    if not equal or (kind is Kind.FLAG and allowed_pks(present) != set(users)):
        raise InvalidChangeError(Text(_EXISTS[kind], key=repr(present.key)))
    version, fields = version_of(kind, present.pk), _editable_fields(present)
    secret = is_secret(present)
    return Changed(present.key, "", fields, fields, written=False, version=version, secret=secret)


def _in_model_order(row: Row, fields: Fields) -> dict[str, object]:
    """Returns the fields in the order in which the history describes them."""
    order = row._meta.concrete_fields
    return dict(sorted(fields.items(), key=lambda item: order.index(row._meta.get_field(item[0]))))


def _editable_fields(row: Row) -> dict[str, Any]:
    """All fields but the primary key and the times that Django sets."""
    return {
        field.name: getattr(row, field.attname)
        for field in stored_fields(model_of(row))
        if not (field.primary_key or is_auto_now(field) or is_auto_now_add(field))
    }


def _is_lost(old: Fields, *, secret: bool) -> bool:
    """Whether an undo could not write these old fields again."""
    return secret and not old.keys().isdisjoint(SECRET_FIELDS)
