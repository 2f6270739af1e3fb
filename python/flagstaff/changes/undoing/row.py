"""What an undo does to the columns and the allowed users of one row. Pure: no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from flagstaff._tables.model_fields import auto_now_columns, column_of
from flagstaff._tables.rows import PrimaryKey
from flagstaff.changes.changed import KIND_OPTIONS, quoted_command
from flagstaff.changes.past import (
    ItemState,
    Past,
    RowVersion,
    comparable,
    is_same_column,
    masked_columns,
)
from flagstaff.changes.restore_version import only_a_digest, writable_columns
from flagstaff.changes.undoing.conflicts import Conflict
from flagstaff.changes.undoing.selection import runs_of
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange

#: A run of events, and why they cannot be undone.
Blocked: TypeAlias = "tuple[Sequence[EntryRange], FlagstaffError | Conflict]"


@dataclass
class RowUndo:
    """The state that an undo leads to, from the newest event to the oldest."""

    past: Past
    #: The row as it is after the events that have been undone; None if there is none.
    row: RowVersion | None
    users: frozenset[PrimaryKey]
    #: The version as which a deleted row is created again.
    base: RowVersion | None = None
    #: The versions from which columns are taken.
    taken: dict[str, RowVersion] = field(default_factory=dict)
    undone: list[EntryRange] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """The kind of the row."""
        return self.past.item.kind

    @property
    def versions_taken(self) -> list[RowVersion]:
        """All versions whose fields are needed."""
        return [*self.taken.values(), *([] if self.base is None else [self.base])]


def undone_row(past: Past, events: Sequence[EntryRange], *, whole: bool) -> RowUndo:
    """Returns what the undo of these events of a row leads to. They are newest first.

    With `whole`, any newer change is a conflict; otherwise only one of the same columns.
    """
    undo = RowUndo(past, past.present.row, past.present.users)
    newest_first = [entry.id for entry in past.entries]
    for run in [events] if whole else runs_of(events, newest_first):
        bounds = EntryRange(run[-1].first, run[0].last)
        why = _why_not(undo, run, bounds, whole=whole)
        if isinstance(why, Conflict):
            why = replace(why, selected=frozenset(event.last for event in events))
        if why is None:
            undo.undone += run
        else:
            undo.blocked.append((run, why))
    return undo


def _why_not(
    undo: RowUndo, run: Sequence[EntryRange], bounds: EntryRange, *, whole: bool
) -> FlagstaffError | Conflict | None:
    """Undoes a run of events. Returns what prevents it."""
    past = undo.past
    before, after = past.state_at(bounds.first - 1), past.state_at(bounds.last)
    if whole and past.version != bounds.last:
        if past.has_state(before):
            return None
        return Conflict(past, bounds, is_creation=before.row is None)
    if any(_is_interleaved(past, event) for event in run):
        return Conflict(past, bounds, is_interleaved=True, is_creation=before.row is None)
    try:
        return _undo_run(undo, bounds, before, after)
    except FlagstaffError as error:
        return error


def _is_interleaved(past: Past, event: EntryRange) -> bool:
    """Whether another transaction wrote between the entries of an event.

    An undo would undo that too. It happens only if allowed users are written without the lock of
    their flag.
    """
    between = (entry for entry in past.entries if event.first <= entry.id <= event.last)
    return len({entry.transaction_id for entry in between}) > 1


def _undo_run(
    undo: RowUndo, run: EntryRange, before: ItemState, after: ItemState
) -> Conflict | None:
    if before.row is None:
        return None if after.row is None else _undo_creation(undo, run)
    if after.row is None:
        _undo_deletion(undo, before)
        return None
    if undo.row is None:
        item = undo.past.item
        command = quoted_command("restore", item.key, "VERSION", *KIND_OPTIONS[item.kind])
        raise InvalidChangeError(
            "{key} has been deleted; restore it first with {command}", key=item.key, command=command
        )
    columns = _columns_to_undo(undo, undo.row, run, before.row, after.row)
    if isinstance(columns, Conflict):
        return columns
    undo.row = _taken(undo, undo.row, before.row, columns)
    # All other users stay.
    added, removed = after.users - before.users, before.users - after.users
    undo.users = (undo.users | removed) - added
    return None


def _undo_creation(undo: RowUndo, run: EntryRange) -> Conflict | None:
    if undo.row is None:
        return None
    if undo.past.version != run.last:
        return Conflict(undo.past, run, is_creation=True)
    undo.row, undo.users = None, frozenset()
    return None


def _undo_deletion(undo: RowUndo, before: ItemState) -> None:
    if undo.row is not None or before.row is None:
        return
    if before.row.is_digest:
        raise only_a_digest(undo.past.item)
    undo.row, undo.users = before.row, before.users
    if undo.past.item.row is None:
        undo.base = before.row
    else:
        undo.taken |= dict.fromkeys(before.row.columns, before.row)


def _columns_to_undo(
    undo: RowUndo, row: RowVersion, run: EntryRange, before: RowVersion, after: RowVersion
) -> set[str] | Conflict:
    """The columns that the events changed and that still differ from what was before."""
    before, after, present = comparable(before, after, row)
    changed = {name for name in before.columns if not is_same_column(before, after, name)}
    masked = undo.past.masked_changes
    if any(run.first <= entry <= run.last for entry in masked):
        # They are masked before and after. Their undo is refused by `writable_columns`.
        if lost := masked_columns(undo.kind, before):
            return changed | lost
        # There were none before. What newer changes have written is not removed.
        if any(entry > run.last for entry in masked):
            again = changed & masked_columns(undo.kind, after)
            return Conflict(undo.past, run, columns=frozenset(again))
        return changed
    to_undo = {
        name
        for name in changed - {*auto_now_columns(undo.kind.model)}
        if not is_same_column(present, before, name)
    }
    again = {name for name in to_undo if not is_same_column(present, after, name)}
    return Conflict(undo.past, run, columns=frozenset(again)) if again else to_undo


def _taken(undo: RowUndo, row: RowVersion, version: RowVersion, columns: set[str]) -> RowVersion:
    """Takes columns from an earlier version. Returns the row after it."""
    columns = writable_columns(undo.past, row, version, columns)
    undo.taken |= dict.fromkeys(columns, version)
    has_value = undo.kind is Kind.VALUE and column_of(undo.kind.model, "value") in columns
    return RowVersion(
        {**row.columns, **{name: version.columns.get(name) for name in columns}},
        value_text=version.value_text if has_value else row.value_text,
    )
