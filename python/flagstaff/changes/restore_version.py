"""Restores every field and all allowed users as they were at a version. This is a new change."""

from __future__ import annotations

from collections.abc import Collection
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
from flagstaff.changes.allowed_users import (
    ALLOWED,
    AllowedUsersChange,
    allowed_pks,
    change_allowed_users,
    in_order,
    users_to_change,
)
from flagstaff.changes.changed import DELETE_VERBS, Changed, quoted_command, undo_by_version
from flagstaff.changes.fields import insert, require_readable
from flagstaff.changes.locking import require_version
from flagstaff.changes.messages import NOT_EXISTENT_THEN, ONLY_A_DIGEST
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.past import (
    Item,
    ItemState,
    RowVersion,
    digests_at,
    find_item,
    instance_of,
    last_change_of_choices,
    masked_columns,
    no_such_version,
    present_row,
    state_at,
    unreadable_at,
)
from flagstaff.changes.row_changes import change_row, planned_change
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import was_ever_secret
from flagstaff.history.versions import entries, version_of

_VALUE = "value"


def restore(
    key: str, *, to: int, expect_version: int | None = None, force: bool = False
) -> Changed:
    """Restores a flag to the state right after the change `to`: all fields and allowed users.

    A deleted flag gets its old primary key back. Users who no longer exist are left out and
    returned as `missing`. Raises UnknownFlagError, ConflictError, NoHistoryError, or
    InvalidChangeError if this flag has no such change. `force` works as in `update`.
    """
    with ignoring_old_workers(force):
        return _restore(Kind.FLAG, key, to, expect_version)


def restore_value(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a value, as `restore` does a flag.

    Raises InvalidChangeError if the value was secret and differs, because the history has only a
    digest of it.
    """
    return _restore(Kind.VALUE, key, to, expect_version)


def restore_segment(
    key: str, *, to: int, expect_version: int | None = None, force: bool = False
) -> Changed:
    """Restores a segment, as `restore` does a flag. Raises UnknownSegmentError for its key."""
    with ignoring_old_workers(force):
        return _restore(Kind.SEGMENT, key, to, expect_version)


def preview_restore(kind: Kind, key: str, to: int) -> Changed:
    """Returns what a restore of an existing flag or value would change. Writes nothing.

    Raises as `restore` does.
    """
    with transaction.atomic(using=conf.database):
        item, state = _find(kind, key, to)
        if item.row is None:
            kind.row(key)  # Raises, because there is no such row.
        row = cast("Row", item.row)
        return with_secrecy(item, planned_change(kind, row, *_wanted(item, state)))


def versions_without_value(row: Row, versions: Collection[int]) -> set[int]:
    """Returns those versions of a value that cannot be restored.

    Only a digest is left of a secret value, and Python cannot decode every value that SQL writes.
    """
    if not versions:
        return set()
    item = Item(Kind.VALUE, row.key, str(row.pk), row)
    return _versions_with_a_digest(item, versions) | unreadable_at(item, versions)


def _versions_with_a_digest(item: Item, versions: Collection[int]) -> set[int]:
    if not was_ever_secret(Kind.VALUE, item.pk):
        return set()
    present = present_row(item, as_digest=True).columns[column_of(Kind.VALUE.model, _VALUE)]
    digests = digests_at(item, versions)
    before = last_change_of_choices(item)
    return {version for version, digest in digests.items() if digest != present} | {
        version for version in versions if version < before
    }


def _restore(kind: Kind, key: str, to: int, expect_version: int | None) -> Changed:
    with transaction.atomic(using=conf.database):
        item, state = _find(kind, key, to)
        if item.row is None:
            return recreate(item, state, expect_version)
        changed = change_row(kind, item.row, *_wanted(item, state), expect_version)
        return with_secrecy(item, changed)


def _find(kind: Kind, key: str, to: int) -> tuple[Item, ItemState]:
    """The locked item, and its state right after a version."""
    item = find_item(kind, key)
    if not entries(kind, item.pk).filter(id=to).exists():
        raise no_such_version(kind, key, to)
    state = state_at(item, to)
    if state.row is None:
        delete = quoted_command(*DELETE_VERBS[kind], key)
        text = NOT_EXISTENT_THEN(key=key, version=str(to), command=delete)
        raise InvalidChangeError(text)
    return item, state


def _wanted(item: Item, state: ItemState) -> tuple[dict[str, object], AllowedUsersChange]:
    """The fields of an earlier state, and the way to its allowed users."""
    fields = fields_at(item, cast("RowVersion", state.row))
    if item.kind is not Kind.FLAG:
        return fields, AllowedUsersChange()
    present = allowed_pks(cast("Row", item.row))
    return fields, users_to_change(present, in_order(state.users), skip_unknown=True)


def recreate(item: Item, state: ItemState, expect_version: int | None) -> Changed:
    """Inserts a deleted row again, with its primary key and its allowed users."""
    version = cast("RowVersion", state.row)
    if version.is_digest:
        raise only_a_digest(item)
    require_version(item.kind, item.key, item.pk, expect_version)
    row = cast("Row", instance_of(item, version))
    require_readable(item.key, vars(row))
    _set_new_columns(row, version)
    # Saving sets auto_now_add fields to the present, also in the instance.
    created = {name: getattr(row, name) for name in _creation_times(row, version)}
    row._state.adding = True
    insert(row)
    if created:
        all_rows(item.kind.model).filter(pk=row.pk).update(**created)
        vars(row).update(created)
    users = users_to_change((), in_order(state.users), skip_unknown=True)
    if users:
        change_allowed_users(row, users)
    new = {one.name: getattr(row, one.attname) for one in _restorable_fields(item, version)}
    new |= {ALLOWED: list(users.added)} if users.added else {}
    newest = version_of(item.kind, row.pk)
    undo = undo_by_version(item.kind, row.key, newest)
    changed = Changed(
        row.key, "", None, new, written=True, version=newest, undo=undo, missing=users.missing
    )
    return with_secrecy(item, changed)


def with_secrecy(item: Item, changed: Changed) -> Changed:
    """Marks the result as secret if the history shows none of the values of this row."""
    return replace(changed, secret=changed.secret or was_ever_secret(item.kind, item.pk))


def fields_at(
    item: Item, version: RowVersion, columns: Collection[str] | None = None
) -> dict[str, object]:
    """Returns the fields of an earlier row by attname: all of them, or those of these columns.

    Raises InvalidChangeError if a secret value or its choices differ, because the history has only
    a digest of the value.
    """
    fields = _restorable_fields(item, version)
    if columns is not None:
        fields = [field for field in fields if field.column in columns]
    if version.is_digest and any(field.name == _VALUE for field in fields):
        fields = [field for field in fields if field.name != _VALUE]
        present = present_row(item, as_digest=True).columns
        column = column_of(item.kind.model, _VALUE)
        if present[column] != version.columns[column]:
            raise only_a_digest(item)
    masked = {field.column for field in fields} & {*masked_columns(item, version)}
    if masked:
        # They are as at present, unless an entry since says that they changed.
        fields = [field for field in fields if field.column not in masked]
        if last_change_of_choices(item, since=version.entry or 0):
            raise only_a_digest(item)
    row = instance_of(item, version)
    return {field.attname: getattr(row, field.attname) for field in fields}


def _restorable_fields(item: Item, version: RowVersion) -> list[AnyField]:
    """The fields that people can change, without columns that were added after this version."""
    return [
        field
        for field in stored_fields(item.kind.model)
        if field.column in version.columns
        and not (field.primary_key or is_auto_now(field) or is_generated(field))
    ]


def _set_new_columns(row: Row, version: RowVersion) -> None:
    """Sets the defaults of columns that were added after this version."""
    for field in stored_fields(model_of(row)):
        if field.column not in version.columns and not is_generated(field):
            setattr(row, field.attname, field.get_default())


def _creation_times(row: Row, version: RowVersion) -> list[str]:
    fields = auto_now_add_fields(model_of(row))
    return [field.attname for field in fields if field.column in version.columns]


def only_a_digest(item: Item) -> InvalidChangeError:
    """Returns the error if a secret value of the past is needed."""
    verb = "set" if item.row else "create"
    command = quoted_command("value", verb, item.key, "-")
    return InvalidChangeError(ONLY_A_DIGEST(key=item.key, command=command))


#: What restores an earlier version of each kind of row.
RESTORE_BY_KIND = {
    Kind.FLAG: restore,
    Kind.VALUE: restore_value,
    Kind.SEGMENT: restore_segment,
}
