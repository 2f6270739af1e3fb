"""Undoes events of flags, values and segments: one, several, or all of a transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TypeAlias, cast

from django.db import connections, transaction
from django.db.models import Model

from flagstaff._tables.rows import Row
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import raise_errors, require_version
from flagstaff.changes.past import RowId
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.restore_version import recreate
from flagstaff.changes.row_changes import finished, write_fields
from flagstaff.changes.segment_use import checked_together
from flagstaff.changes.undoing.conflicts import changed_meanwhile, others_changed_meanwhile
from flagstaff.changes.undoing.plan import RowPlan, UndoneEvents, UndoPlan, plan_undo
from flagstaff.changes.undoing.selection import (
    RowEvents,
    select_of_key,
    select_transaction,
    select_versions,
)
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_triggers, versions_of
from flagstaff.history.reading import EntryRange

#: Rows that cannot be written as planned, and why.
Refused: TypeAlias = Mapping[RowId, FlagstaffError]
#: Raises an error if a plan must not be written.
Check: TypeAlias = Callable[[UndoPlan], None]

NOTHING_REFUSED: Refused = {}
# The triggers read it. It ends with the transaction, and with a savepoint that is rolled back.
_SET_UNDOES = "SELECT pg_catalog.set_config('flagstaff.undoes', %s, true)"


class _RefusedRowError(Exception):
    """A row cannot be written as planned."""

    def __init__(self, row: RowId, error: FlagstaffError) -> None:
        super().__init__(str(error))
        self.row, self.error = row, error

    def added_to(self, refused: Refused) -> Refused:
        """Returns the refused rows with this one."""
        return {**refused, self.row: self.error}


def undo(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Undoes one event of a flag and its allowed users: that of the entry `change`, or the newest.

    Newer changes of other fields stay. Raises UnknownFlagError, NoHistoryError, ConflictError if
    the same fields were changed since, and InvalidChangeError if this flag has no such change.
    """
    return _undo(Kind.FLAG, key, change, expect_version)


def undo_value(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
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
) -> Changed:
    """Undoes one event of a segment, as `undo` does of a flag.

    Raises UnknownSegmentError for its key, and InvalidChangeError if the undo would delete a
    segment that a rule names.
    """
    return _undo(Kind.SEGMENT, key, change, expect_version)


def undo_transaction(change: int) -> list[Changed]:
    """Undoes everything that a transaction did to flags, values and segments.

    `change` is any entry of it. Deleted rows are created again with every field and their allowed
    users; created rows are deleted. One transaction. Raises ConflictError, which lists every row
    that was changed since, NoHistoryError, and InvalidChangeError if there is no such change or if
    it needs a secret value.
    """
    return _changes(undo_selected(select_transaction(change), whole=True))


def undo_events(versions: Iterable[int], *, skip_conflicts: bool = False) -> list[UndoneEvents]:
    """Undoes these events of flags, values and segments.

    One transaction. If one event cannot be undone, nothing is written, and the error is raised; for
    several ones, ConflictError lists them. With `skip_conflicts`, the others are undone. Raises
    NoHistoryError, and InvalidChangeError if there is no such version.
    """
    return undo_selected(select_versions(versions), skip_conflicts=skip_conflicts)


def preview_undo_events(versions: Iterable[int]) -> list[UndoneEvents]:
    """Returns what `undo_events` would do with `skip_conflicts`. Rolls back what it writes."""
    plan = preview_undo(select_versions(versions))
    if plan.refusal is not None:
        raise plan.refusal
    return plan.events


def _changes(done: Iterable[UndoneEvents]) -> list[Changed]:
    return [one.changed for one in done if one.changed is not None]


def _undo(kind: Kind, key: str, change: int | None, expect_version: int | None) -> Changed:
    check = expecting_version(expect_version)
    [changed] = _changes(undo_selected(select_of_key(kind, key, change), check=check))
    return changed


def expecting_version(expected: int | None) -> Check:
    """Returns a check that raises ConflictError if a row to write has another version."""

    def check(plan: UndoPlan) -> None:
        for row in plan.rows:
            if row.written:
                require_version(row.item.kind, row.item.key, row.item.pk, expected)

    return check


def as_shown(versions: Sequence[int], undone: Collection[int]) -> Check:
    """Returns a check that raises ConflictError if an undo is not the one that was shown.

    `versions` are those of the rows, and `undone` those of the events that it undoes.
    """

    def check(plan: UndoPlan) -> None:
        first = plan.rows[0]
        # Where entries were deleted meanwhile, there are fewer rows.
        if len(plan.rows) != len(versions):
            raise others_changed_meanwhile(first.item, first.version)
        for row, version in zip(plan.rows, versions, strict=True):
            # Without triggers the version stays the same whatever is changed.
            require_triggers(row.item.kind)
            if row.version != version:
                raise changed_meanwhile(row.item, version, row.version)
        if plan.undone != frozenset(undone):
            raise others_changed_meanwhile(first.item, first.version)

    return check


def undo_selected(
    selected: Sequence[RowEvents],
    *,
    whole: bool = False,
    skip_conflicts: bool = False,
    check: Check | None = None,
    refused: Refused = NOTHING_REFUSED,
) -> list[UndoneEvents]:
    """Undoes events in one transaction, with all rows locked.

    `check` gets the plan before it is written; `refused` are the rows that a preview could not
    write. Raises the error if events cannot be undone, or
    ConflictError with all of them; with `skip_conflicts`, the others are undone.
    """
    while True:
        try:
            with transaction.atomic(using=conf.database):
                plan = plan_undo(selected, whole=whole, lock=True, refused=refused)
                if check is not None:
                    check(plan)
                if not skip_conflicts:
                    raise_errors(plan.errors)
                return _write(plan)
        except _RefusedRowError as refusal:  # noqa: PERF203 (conflicts are rare)
            # Decides again: a concurrent call may have undone the same deletion.
            refused = refusal.added_to(refused)


def preview_undo(selected: Sequence[RowEvents], *, whole: bool = False) -> UndoPlan:
    """Returns what an undo would do, and what is in its way. Rolls back what it writes."""
    refused = NOTHING_REFUSED
    while True:
        try:
            with rolled_back():
                plan = plan_undo(selected, whole=whole, lock=True, refused=refused)
                try:
                    _write(plan)
                except FlagstaffError as error:
                    return replace(plan, refusal=error)
                return plan
        except _RefusedRowError as refusal:  # noqa: PERF203 (conflicts are rare)
            refused = refusal.added_to(refused)


def _write(plan: UndoPlan) -> list[UndoneEvents]:
    with checked_together():
        for row in _in_order(plan.rows):
            _record_undo_of(row.events)
            _write_row(row)
        _record_undo_of(())
    return _finished(plan.rows)


def _record_undo_of(events: Sequence[EntryRange]) -> None:
    """Makes the next entries of this transaction store the events that they undo."""
    with connections[conf.database].cursor() as cursor:
        cursor.execute(
            _SET_UNDOES,
            [
                json.dumps([*dict.fromkeys(pk for event in events for pk in event)])
                if events
                else ""
            ],
        )


def _write_row(plan: RowPlan) -> None:
    """Writes a row. A refusal rolls back the whole undo, so it needs no savepoint."""
    # A preview keeps the plan.
    row = plan.item.row and _copy_of(plan.item.row)
    try:
        if plan.inserted is not None:
            created, version = plan.inserted
            recreate(copy(created), plan.users, version, savepoint=False)
        elif row is not None and plan.key is None:
            row.delete(using=conf.database)
        elif row is not None and plan.changed is not None:
            write_fields(row, plan.changed, plan.users, savepoint=False, is_past=True)
    except FlagstaffError as error:
        raise _RefusedRowError(plan.item.id, error) from error


def _copy_of(row: Row) -> Row:
    model = cast("type[Model]", type(row))
    names = [field.attname for field in model._meta.concrete_fields]
    copied = model.from_db(conf.database, names, [getattr(row, name) for name in names])
    return cast("Row", copied)


def _in_order(plans: Iterable[RowPlan]) -> list[RowPlan]:
    """Sorts so that each row that has the old key of another one is undone before that one.

    Otherwise created rows are undone first, and deleted ones last.
    """
    written = [plan for plan in plans if plan.written]
    holders = {(plan.item.kind, plan.item.key): plan for plan in written if plan.frees_its_key}
    ordered: dict[RowId, RowPlan] = {}
    for first in sorted(written, key=_order):
        chain: dict[RowId, RowPlan] = {}
        plan: RowPlan | None = first
        while plan is not None and plan.item.id not in ordered and plan.item.id not in chain:
            chain[plan.item.id] = plan
            plan = None if plan.key is None else holders.get((plan.item.kind, plan.key))
        ordered |= reversed(chain.items())
    return list(ordered.values())


def _order(plan: RowPlan) -> int:
    if plan.key is None:
        return 0
    return 1 if plan.inserted is None else 2


def _finished(rows: Sequence[RowPlan]) -> list[UndoneEvents]:
    """The results, with the versions that the rows have now. A query for each kind."""
    pks: dict[Kind, list[str]] = defaultdict(list)
    for row in rows:
        if row.written:
            pks[row.item.kind].append(row.item.pk)
    versions = {kind: versions_of(kind, some) for kind, some in pks.items()}
    return [one for row in rows for one in _finished_row(row, versions).results]


def _finished_row(row: RowPlan, versions: Mapping[Kind, Mapping[str, int]]) -> RowPlan:
    if row.written is None:
        return row
    kind, pk = row.item.kind, row.item.pk
    return replace(row, changed=finished(kind, row.written, versions[kind].get(pk, 0)))
