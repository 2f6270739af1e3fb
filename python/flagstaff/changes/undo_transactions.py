"""Undoes a whole transaction: everything that it did to flags, values and segments, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import cast

from django.db import transaction
from django.db.models import Q

from flagstaff._tables.model_fields import column_of
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import batches
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import raise_conflicts
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.past import (
    Item,
    ItemState,
    last_change_of_choices,
    no_version_at_all,
    old_row,
    present_state,
    state_at,
)
from flagstaff.changes.segment_use import checked_together
from flagstaff.changes.undo_conflicts import (
    has_state,
    interleaved_conflict,
    key_conflict,
    newer_conflict,
)
from flagstaff.changes.undo_event import unchanged, undo_entries
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange
from flagstaff.history.transactions import Part, parts_of
from flagstaff.history.versions import all_entries, require_history, version_of


@dataclass(frozen=True)
class _LockedPart:
    """A part of the transaction, its locked row, and the states around it."""

    part: Part
    item: Item
    before: ItemState
    present: ItemState
    #: The present version.
    version: int | None

    @property
    def entries(self) -> EntryRange:
        return EntryRange(self.part.first, self.part.last)

    @property
    def is_newest(self) -> bool:
        return self.version == self.part.last

    @property
    def order(self) -> int:
        """Created rows are undone first, deleted ones last, because they may need a free key."""
        if self.before.row is None:
            return 0
        return 2 if self.item.row is None else 1

    @property
    def key_before(self) -> str | None:
        """The key before the transaction; None if there was no row."""
        if self.before.row is None:
            return None
        column = column_of(self.part.kind.model, "key")
        return cast("str | None", self.before.row.columns[column])

    @property
    def frees_its_key(self) -> bool:
        """Whether the undo makes the present key free for another row."""
        return self.item.row is not None and self.key_before != self.item.key


def undo_transaction(change: int, *, force: bool = False) -> list[Changed]:
    """Undoes everything that a transaction did to flags, values and segments.

    `change` is any entry of it. Deleted rows are created again with every field and their allowed
    users; created rows are deleted. One transaction. Raises ConflictError, which lists every row
    that was changed since, NoHistoryError, and InvalidChangeError if there is no such change or if
    it needs a secret value. `force` works as in `update`.
    """
    require_history()
    with transaction.atomic(using=conf.database), ignoring_old_workers(force):
        parts = parts_of(change)
        if not parts:
            raise no_version_at_all(change)
        lock_rows((part.kind, part.pk) for part in parts)
        locked = [_read(part) for part in parts]
        raise_conflicts(error for one in locked if (error := _conflict(one, locked)))
        with checked_together():
            done = {one.part: _undo(one) for one in _in_order(locked)}
    return [done[part] for part in parts]


def parts_without_value(parts: Collection[Part]) -> set[Part]:
    """Returns the parts that cannot be undone, because only a digest of the value is left."""
    values = [part for part in parts if part.kind is Kind.VALUE and not part.creates]
    if not values:
        return set()
    secret = Q(old__secret=True) | Q(new__secret=True)
    ids = {pk for part in values for pk in (part.first, part.last)}
    entries = {entry.pk: entry for entry in all_entries().filter(secret, id__in=ids)}
    column = column_of(Kind.VALUE.model, "value")
    lost = set()
    for part in values:
        first, last = entries.get(part.first), entries.get(part.last)
        if first is None or not old_row(first).is_digest:
            continue
        after = None if last is None or last.new is None else last.new.get(column)
        item = Item(part.kind, part.key, part.pk, None)
        if after != (first.old or {}).get(column) or last_change_of_choices(
            item, part.first, part.last
        ):
            lost.add(part)
    return lost


def lock_rows(wanted: Iterable[tuple[Kind, str]]) -> None:
    """Locks rows, by kind and primary key, until the surrounding transaction ends.

    In the same order as an import does, so that the two cannot deadlock.
    """
    pairs = list(wanted)
    for kind in Kind:
        # The database's order of keys, which may differ from Python's.
        rows = all_rows(kind.model).select_for_update().order_by("key")
        for pks in batches(pk for one, pk in pairs if one is kind):
            list(rows.filter(pk__in=pks).values_list("pk"))


def _read(part: Part) -> _LockedPart:
    row = all_rows(part.kind.model).select_for_update().filter(pk=part.pk).first()
    item = Item(part.kind, part.key if row is None else row.key, part.pk, row)
    present = present_state(item)
    before = state_at(item, part.first - 1, present)
    return _LockedPart(part, item, before, present, version_of(part.kind, part.pk))


def _conflict(one: _LockedPart, locked: list[_LockedPart]) -> ConflictError | None:
    """Returns why this part cannot be undone, unless it has its old state again already."""
    if not one.is_newest:
        return None if has_state(one.item, one.before) else newer_conflict(one.item, one.entries)
    if one.item.row is None and _key_is_taken(one, locked):
        return key_conflict(one.part.kind, one.key_before or "", one.part.pk, one.part.last)
    return interleaved_conflict(one.item, one.entries)


def _key_is_taken(deleted: _LockedPart, locked: list[_LockedPart]) -> bool:
    """Whether another row has the key and keeps it after the whole undo."""
    kind = deleted.part.kind
    freed = [one.part.pk for one in locked if one.part.kind is kind and one.frees_its_key]
    return all_rows(kind.model).filter(key=deleted.key_before).exclude(pk__in=freed).exists()


def _in_order(locked: list[_LockedPart]) -> list[_LockedPart]:
    """Sorts so that each row that has the old key of another one is undone before that one."""
    holders = {(one.part.kind, one.item.key): one for one in locked if one.frees_its_key}
    ordered: dict[Part, _LockedPart] = {}
    for each in sorted(locked, key=lambda one: one.order):
        chain: dict[Part, _LockedPart] = {}
        one: _LockedPart | None = each
        while one is not None and one.part not in ordered and one.part not in chain:
            chain[one.part] = one
            key = one.key_before
            one = None if key is None else holders.get((one.part.kind, key))
        ordered |= reversed(chain.items())
    return list(ordered.values())


def _undo(one: _LockedPart) -> Changed:
    if not one.is_newest:
        return unchanged(one.item)
    # No change follows this part, so the state after it is the present one.
    return undo_entries(one.item, one.entries, one.before, one.present)
