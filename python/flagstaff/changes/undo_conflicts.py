"""Decides whether an undo is still possible, or which newer change is in the way."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from flagstaff._tables.model_fields import auto_now_columns
from flagstaff._words.message import Message
from flagstaff.changes.allowed_users import allowed_pks
from flagstaff.changes.changed import KIND_OPTIONS, quoted_command
from flagstaff.changes.locking import conflict_error
from flagstaff.changes.messages import CHANGED_TOGETHER, KEY_IN_USE, RESTORE_INSTEAD
from flagstaff.changes.past import (
    Item,
    ItemState,
    RowVersion,
    comparable,
    last_change_of_choices,
    masked_columns,
    present_row,
)
from flagstaff.exceptions import ConflictError
from flagstaff.history.events import same_json
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange
from flagstaff.history.versions import entries, version_of


def newer_conflict(item: Item, event: EntryRange) -> ConflictError:
    """Returns an error that lists what was changed after an event."""
    newest = version_of(item.kind, item.pk)
    return conflict_error(item.kind, item.key, item.pk, event.last, newest, _restore_instead(item))


def require_newest(item: Item, event: EntryRange) -> None:
    """Raises ConflictError if anything was changed after an event."""
    if version_of(item.kind, item.pk) != event.last:
        raise newer_conflict(item, event)


def interleaved_conflict(item: Item, event: EntryRange) -> ConflictError | None:
    """Returns an error if another transaction wrote between the entries of an event.

    An undo would undo that too. It happens only if allowed users are written without the lock of
    their flag.
    """
    between = entries(item.kind, item.pk).filter(id__range=event).order_by()
    if between.values("transaction_id").distinct().count() <= 1:
        return None
    return ConflictError(
        CHANGED_TOGETHER(key=item.key),
        key=item.key,
        expected=event.last,
        advice=_restore_instead(item),
    )


def key_conflict(kind: Kind, key: str, pk: str, expected: int) -> ConflictError:
    """Returns the error that another row has the key of a deleted one."""
    text = KEY_IN_USE[kind](key=key)
    return ConflictError(text, key=key, expected=expected, actual=version_of(kind, pk))


def columns_to_undo(
    item: Item, event: EntryRange, before: RowVersion, after: RowVersion
) -> AbstractSet[str]:
    """Returns the columns that an event changed and that still differ from what was before.

    Raises ConflictError if one of them was changed again since.
    """
    before, after, present = comparable(item, before, after, present_row(item))
    changed = {name for name in before.columns if not _same(before, after, name)}
    if last_change_of_choices(item, *event):
        # They are masked before and after. Their undo is refused by `fields_at`.
        return changed.union(masked_columns(item, before))
    to_undo = {
        name
        for name in changed - {*auto_now_columns(item.kind.model)}
        if not _same(present, before, name)
    }
    if not all(_same(present, after, name) for name in to_undo):
        raise newer_conflict(item, event)
    return to_undo


def has_state(item: Item, state: ItemState) -> bool:
    """Returns True if a locked row and its allowed users have this state, auto_now fields aside."""
    if item.row is None or state.row is None:
        return item.row is None and state.row is None
    present, other = comparable(item, present_row(item), state.row)
    columns = {*present.columns, *other.columns} - {*auto_now_columns(item.kind.model)}
    if not all(_same(present, other, name) for name in columns):
        return False
    return item.kind is not Kind.FLAG or allowed_pks(item.row) == state.users


def _restore_instead(item: Item) -> Message:
    restore = quoted_command("restore", item.key, "VERSION", *KIND_OPTIONS[item.kind])
    return RESTORE_INSTEAD(command=restore)


def _same(one: RowVersion, other: RowVersion, name: str) -> bool:
    return same_json(one.columns.get(name), other.columns.get(name))
