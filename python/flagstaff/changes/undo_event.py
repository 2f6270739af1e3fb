"""Undoes one event of a flag or a value, and leaves newer changes of other fields."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from flagstaff._tables.model_fields import column_of
from flagstaff._tables.rows import Row, all_rows
from flagstaff.changes.allowed_users import (
    AllowedUsersChange,
    allowed_pks,
    in_order,
    users_to_change,
)
from flagstaff.changes.changed import KIND_OPTIONS, Changed, quoted_command
from flagstaff.changes.locking import require_version
from flagstaff.changes.messages import DELETED, NOTHING_TO_UNDO
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.past import Item, ItemState, find_item, no_such_version, state_at
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.restore_version import fields_at, recreate, with_secrecy
from flagstaff.changes.row_changes import change_row, delete_locked_row
from flagstaff.changes.undo_conflicts import (
    columns_to_undo,
    interleaved_conflict,
    key_conflict,
    require_newest,
)
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange, range_of_event
from flagstaff.history.versions import version_of


def undo(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
    force: bool = False,
) -> Changed:
    """Undoes one event of a flag and its allowed users: that of the entry `change`, or the newest.

    Newer changes of other fields stay. Raises UnknownFlagError, NoHistoryError, ConflictError if
    the same fields were changed since, and InvalidChangeError if this flag has no such change.
    `force` works as in `update`.
    """
    with ignoring_old_workers(force):
        return _undo(Kind.FLAG, key, change, expect_version)


def undo_value(
    key: str, change: int | None = None, *, expect_version: int | None = None
) -> Changed:
    """Undoes one event of a value, as `undo` does of a flag.

    Raises InvalidChangeError if the value is secret, because the history has only a digest of it.
    """
    return _undo(Kind.VALUE, key, change, expect_version)


def undo_segment(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
    force: bool = False,
) -> Changed:
    """Undoes one event of a segment, as `undo` does of a flag.

    Raises UnknownSegmentError for its key, and InvalidChangeError if the undo would delete a
    segment that a rule names.
    """
    with ignoring_old_workers(force):
        return _undo(Kind.SEGMENT, key, change, expect_version)


def preview_undo(kind: Kind, key: str, change: int) -> Changed:
    """Returns what an undo would change. Writes nothing that stays. Raises as `undo` does."""
    with rolled_back():
        planned = _undo(kind, key, change, None)
    return replace(planned, written=False, undo=None)


def _undo(kind: Kind, key: str, change: int | None, expect_version: int | None) -> Changed:
    with transaction.atomic(using=conf.database):
        item = find_item(kind, key)
        event = range_of_event(kind, item.pk, change)
        if event is None:
            if change is None:
                raise InvalidChangeError(NOTHING_TO_UNDO(key=key))
            raise no_such_version(kind, key, change)
        if error := interleaved_conflict(item, event):
            raise error
        before, after = state_at(item, event.first - 1), state_at(item, event.last)
        return undo_entries(item, event, before, after, expect_version)


def undo_entries(
    item: Item,
    event: EntryRange,
    before: ItemState,
    after: ItemState,
    expect_version: int | None = None,
) -> Changed:
    """Undoes what some entries did to a locked row, given the states before and after them."""
    if before.row is None and after.row is None:
        return unchanged(item)
    if before.row is None:
        return _undo_creation(item, event, expect_version)
    if after.row is None:
        return _undo_deletion(item, event, before, expect_version)
    if item.row is None:
        restore = quoted_command("restore", item.key, "VERSION", *KIND_OPTIONS[item.kind])
        raise InvalidChangeError(DELETED(key=item.key, command=restore))
    columns = columns_to_undo(item, event, before.row, after.row)
    fields = fields_at(item, before.row, columns)
    users = _users_to_undo(item.kind, item.row, before, after)
    return with_secrecy(item, change_row(item.kind, item.row, fields, users, expect_version))


def unchanged(item: Item) -> Changed:
    """Returns the result if there is nothing to undo."""
    version = version_of(item.kind, item.pk)
    return Changed(item.key, "", {}, {}, written=False, version=version)


def _undo_creation(item: Item, event: EntryRange, expect_version: int | None) -> Changed:
    if item.row is None:
        return unchanged(item)
    require_newest(item, event)
    require_version(item.kind, item.key, item.pk, expect_version)
    return delete_locked_row(item.kind, item.row)


def _undo_deletion(
    item: Item, event: EntryRange, before: ItemState, expect_version: int | None
) -> Changed:
    if item.row is not None:
        return unchanged(item)
    try:
        return recreate(item, before, expect_version)
    except InvalidChangeError:
        # A concurrent call may have undone the same deletion.
        if all_rows(item.kind.model).filter(pk=item.pk).exists():
            return unchanged(item)
        key = before.row and before.row.columns[column_of(item.kind.model, "key")]
        if isinstance(key, str) and item.kind.find(key) is not None:
            raise key_conflict(item.kind, key, item.pk, event.last) from None
        raise


def _users_to_undo(kind: Kind, row: Row, before: ItemState, after: ItemState) -> AllowedUsersChange:
    """Returns the opposite of what the event did to users; all other users stay."""
    if kind is not Kind.FLAG:
        return AllowedUsersChange()
    present = allowed_pks(row)
    added, removed = after.users - before.users, before.users - after.users
    return users_to_change(present, in_order((present | removed) - added), skip_unknown=True)


#: What undoes one change of each kind of row.
UNDO_BY_KIND = {
    Kind.FLAG: undo,
    Kind.VALUE: undo_value,
    Kind.SEGMENT: undo_segment,
}
