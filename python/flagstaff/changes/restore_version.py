"""Restores every field and all allowed users as they were at a version. This is a new change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast

from django.db import transaction

from flagstaff._tables.model_fields import (
    AnyField,
    auto_now_add_fields,
    column_of,
    is_auto_now,
    is_generated,
    stored_fields,
)
from flagstaff._tables.rows import Row, all_rows, model_of
from flagstaff._words.text import Text
from flagstaff.changes.allowed_users import (
    ALLOWED,
    AllowedUsersChange,
    change_allowed_users,
    in_order,
    users_to_change,
)
from flagstaff.changes.changed import DELETE_VERBS, KIND_OPTIONS, Changed, quoted_command
from flagstaff.changes.fields import insert, require_readable
from flagstaff.changes.locking import require_version
from flagstaff.changes.past import (
    Item,
    ItemState,
    Past,
    RowVersion,
    find_item,
    instances_of,
    masked_columns,
    read_pasts,
)
from flagstaff.changes.row_changes import change_row, finished, planned_change
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, version_of
from flagstaff.history.reading import was_ever_secret

_VALUE, _KEY = "value", "key"


def restore(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a flag to the state right after the change `to`: all fields and allowed users.

    A deleted flag gets its old primary key back. Users who no longer exist are left out and
    returned as `missing`. Raises UnknownFlagError, ConflictError, NoHistoryError, or
    InvalidChangeError if this flag has no such change.
    """
    return _restore(Kind.FLAG, key, to, expect_version)


def restore_value(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a value, as `restore` does a flag.

    Raises InvalidChangeError if the value was secret and differs, because the history has only a
    digest of it.
    """
    return _restore(Kind.VALUE, key, to, expect_version)


def restore_segment(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a segment, as `restore` does a flag, except for its key.

    A key does not change. Raises UnknownSegmentError for the key.
    """
    return _restore(Kind.SEGMENT, key, to, expect_version)


def preview_restore(kind: Kind, key: str, to: int) -> Changed:
    """Returns what a restore of an existing flag or value would change. Writes nothing.

    Raises as `restore` does.
    """
    with transaction.atomic(using=conf.database):
        past, state = _find(kind, key, to)
        item = past.item
        row = kind.row(key) if item.row is None else item.row  # Raises if there is no such row.
        planned = planned_change(row, *_restored_fields(past, state))
        return with_secrecy(item, replace(planned, version=version_of(kind, row.pk)))


def _restore(kind: Kind, key: str, to: int, expect_version: int | None) -> Changed:
    with transaction.atomic(using=conf.database):
        past, state = _find(kind, key, to)
        item = past.item
        if item.row is not None:
            fields, users = _restored_fields(past, state)
            changed = change_row(kind, item.row, fields, users, expect_version, is_past=True)
            return with_secrecy(item, changed)
        version = cast("RowVersion", state.row)
        if version.is_digest:
            raise only_a_digest(item)
        require_version(kind, key, item.pk, expect_version)
        row = deleted_row(kind, version, instances_of(kind, [version]))
        if kind is Kind.SEGMENT:
            row.key = key
        users = users_to_change((), in_order(state.users), skip_unknown=True)
        planned = planned_recreation(row, version, users)
        recreate(row, users, version)
        return with_secrecy(item, finished(kind, planned, version_of(kind, row.pk)))


def no_version_of_key(kind: Kind, key: str, version: int) -> InvalidChangeError:
    """Returns the error if no entry of this flag, value or segment has this id."""
    return InvalidChangeError(
        "the history of {key} has no version {version}; see {command}",
        key=key,
        version=str(version),
        command=quoted_command("history", key, *KIND_OPTIONS[kind]),
    )


def _find(kind: Kind, key: str, to: int) -> tuple[Past, ItemState]:
    """The history of the locked row, and its state right after a version."""
    item = find_item(kind, key)
    if not Change.objects.of_row(kind, item.pk).filter(id=to).exists():
        raise no_version_of_key(kind, key, to)
    past = read_pasts([(item, [to])])[item.id]
    state = past.state_at(to)
    if state.row is None:
        delete = quoted_command(*DELETE_VERBS[kind], key)
        text = Text(
            "{key} did not exist at version {version}; to remove it, use {command}",
            key=key,
            version=str(to),
            command=delete,
        )
        raise InvalidChangeError(text)
    return past, state


def _restored_fields(past: Past, state: ItemState) -> tuple[dict[str, object], AllowedUsersChange]:
    """The fields of an earlier state, and the change that leads to its allowed users."""
    item, version = past.item, cast("RowVersion", state.row)
    present = cast("RowVersion", past.present.row)
    columns = writable_columns(past, present, version, version.columns.keys())
    row = cast("Row", item.row)
    if version.entry is not None:
        row = instances_of(item.kind, [version])[version.entry]
    fields = {
        field.attname: getattr(row, field.attname)
        for field in restorable_fields(item.kind)
        if field.column in columns and not (item.kind is Kind.SEGMENT and field.name == _KEY)
    }
    if item.kind is not Kind.FLAG:
        return fields, AllowedUsersChange()
    users = users_to_change(past.present.users, in_order(state.users), skip_unknown=True)
    return fields, users


def writable_columns(
    past: Past, present: RowVersion, version: RowVersion, columns: Collection[str]
) -> set[str]:
    """Returns those of the columns that have to be written to get them from a version.

    Raises InvalidChangeError if a secret value, its choices or its rules differ, because the
    history has only a digest of the value.
    """
    kind, writable = past.item.kind, {*columns}
    if version.is_digest and (column := column_of(kind.model, _VALUE)) in writable:
        writable.remove(column)
        if present.as_digest().columns[column] != version.columns[column]:
            raise only_a_digest(past.item)
    if masked := writable & masked_columns(kind, version):
        # They are as at present, unless an entry since says that they changed.
        writable -= masked
        if any(entry >= (version.entry or 0) for entry in past.masked_changes):
            raise only_a_digest(past.item)
    return writable


def restorable_fields(kind: Kind) -> list[AnyField]:
    """Returns the fields that people can change."""
    return [
        field
        for field in stored_fields(kind.model)
        if not (field.primary_key or is_auto_now(field) or is_generated(field))
    ]


def deleted_row(kind: Kind, version: RowVersion, instances: Mapping[int, Row]) -> Row:
    """Returns the instance of a deleted row that is to be inserted again.

    Columns that were added after this version get their defaults. Raises InvalidChangeError if
    Python cannot decode a value.
    """
    row = instances[cast("int", version.entry)]
    require_readable(row.key, vars(row))
    for field in stored_fields(kind.model):
        if field.column not in version.columns and not is_generated(field):
            setattr(row, field.attname, field.get_default())
    row._state.adding = True
    return row


def planned_recreation(row: Row, version: RowVersion, users: AllowedUsersChange) -> Changed:
    """Returns what the insertion of a deleted row changes. Writes nothing."""
    fields = (field for field in stored_fields(model_of(row)) if field.column in version.columns)
    new = {
        field.name: getattr(row, field.attname)
        for field in fields
        if not (field.primary_key or is_auto_now(field) or is_generated(field))
    }
    new |= {ALLOWED: list(users.added)} if users.added else {}
    return Changed(row.key, "", None, new, written=False, missing=users.missing)


def recreate(
    row: Row, users: AllowedUsersChange, version: RowVersion, *, savepoint: bool = True
) -> None:
    """Inserts a deleted row again, with its primary key and its allowed users."""
    # Saving sets auto_now_add fields to the present, also in the instance.
    fields = auto_now_add_fields(model_of(row))
    created = {
        field.attname: getattr(row, field.attname)
        for field in fields
        if field.column in version.columns
    }
    insert(row, savepoint=savepoint)
    if created:
        all_rows(model_of(row)).filter(pk=row.pk).update(**created)
        vars(row).update(created)
    if users:
        change_allowed_users(row, users)


def with_secrecy(item: Item, changed: Changed) -> Changed:
    """Marks the result as secret if the history shows none of the values of this row."""
    return replace(changed, secret=changed.secret or was_ever_secret(item.kind, item.pk))


def only_a_digest(item: Item) -> InvalidChangeError:
    """Returns the error if a secret value of the past is needed."""
    verb = "set" if item.row else "create"
    command = quoted_command("value", verb, item.key, "-")
    return InvalidChangeError(
        "the history stores only a digest of {key}, because it is secret; enter the value again "
        "with {command}",
        key=item.key,
        command=command,
    )


#: What restores an earlier version of each kind of row.
RESTORE_BY_KIND = {
    Kind.FLAG: restore,
    Kind.VALUE: restore_value,
    Kind.SEGMENT: restore_segment,
}
