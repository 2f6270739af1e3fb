"""Undoes several events together, such as everything that one actor changed in an hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from flagstaff._tables.rows import all_rows
from flagstaff._words.message import lines
from flagstaff.changes.changed import Changed
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.past import Item, no_version_at_all, state_at
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.segment_use import checked_together
from flagstaff.changes.undo_conflicts import interleaved_conflict
from flagstaff.changes.undo_event import undo_entries
from flagstaff.changes.undo_transactions import lock_rows
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange, range_of_event
from flagstaff.history.versions import all_entries, entries, require_history


@dataclass(frozen=True)
class UndoneEvents:
    """What an undo does to consecutive events of one row."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: The events, newest first.
    events: tuple[EntryRange, ...]
    #: What was or would be written; None if these events cannot be undone.
    changed: Changed | None = None
    #: Why they cannot be undone; empty if they can.
    problem: str = ""

    @property
    def entries(self) -> EntryRange:
        """The first entry of the oldest event, and the last entry of the newest one."""
        return EntryRange(self.events[-1].first, self.events[0].last)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of the events, newest first."""
        return tuple(event.last for event in self.events)


def undo_events(
    versions: Iterable[int], *, skip_conflicts: bool = False, force: bool = False
) -> list[UndoneEvents]:
    """Undoes these events of flags, values and segments, the newest of each row first.

    One transaction. If one event cannot be undone, nothing is written, and ConflictError lists all
    such events; with `skip_conflicts`, the others are undone. Raises NoHistoryError, and
    InvalidChangeError if there is no such version. `force` works as in `update`.
    """
    with transaction.atomic(using=conf.database), ignoring_old_workers(force):
        done = _undo_all(versions)
        problems = [one for one in done if one.changed is None]
        if problems and not skip_conflicts:
            raise ConflictError(lines(one.problem for one in problems), key=problems[0].key)
    return done


def preview_undo_events(versions: Iterable[int]) -> list[UndoneEvents]:
    """Returns what `undo_events` would do. Rolls back what it writes."""
    with rolled_back(), ignoring_old_workers(ignore=True):
        return _undo_all(versions)


def _undo_all(versions: Iterable[int]) -> list[UndoneEvents]:
    require_history()
    runs = _runs(sorted(set(versions), reverse=True))
    lock_rows((run.kind, run.pk) for run in runs)
    done: dict[UndoneEvents, UndoneEvents] = {}
    with checked_together():
        for run in _in_order(runs):
            done[run] = _undo(run)
    return [done[run] for run in runs]


def _runs(newest_first: Sequence[int]) -> list[UndoneEvents]:
    """The events of each row, as runs without another event in between."""
    found = {entry.pk: entry for entry in all_entries().filter(pk__in=newest_first)}
    rows: dict[tuple[Kind, str], list[EntryRange]] = defaultdict(list)
    keys: dict[tuple[Kind, str], str] = {}
    for version in newest_first:
        entry = found.get(version)
        event = None
        if entry is not None:
            row = Kind.of(entry.relation), entry.object_pk
            keys.setdefault(row, entry.key)
            event = range_of_event(*row, version)
        if event is None:
            raise no_version_at_all(version)
        if event not in rows[row]:
            rows[row].append(event)
    runs = [
        UndoneEvents(kind, keys[kind, pk], pk, tuple(run))
        for (kind, pk), events in rows.items()
        for run in _adjacent(kind, pk, events)
    ]
    return sorted(runs, key=lambda run: run.entries.last, reverse=True)


def _adjacent(kind: Kind, pk: str, events: Iterable[EntryRange]) -> list[list[EntryRange]]:
    runs: list[list[EntryRange]] = []
    for event in events:
        if runs and not _has_entries(kind, pk, event.last, runs[-1][-1].first):
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs


def _has_entries(kind: Kind, pk: str, after: int, before: int) -> bool:
    return entries(kind, pk).filter(id__gt=after, id__lt=before).exists()


def _in_order(runs: Sequence[UndoneEvents]) -> list[UndoneEvents]:
    """Created rows first, deleted ones last, because they may need a free key. Each newest first.

    The newest run of a row decides about its older ones, which can only be undone after it.
    """
    order: dict[tuple[Kind, str], int] = {}
    for run in runs:
        order.setdefault((run.kind, run.pk), _order(run))
    return sorted(runs, key=lambda run: order[run.kind, run.pk])


def _order(run: UndoneEvents) -> int:
    first, last = run.entries
    rows = entries(run.kind, run.pk).filter(id__range=(first, last), relation=run.kind.row_relation)
    oldest, newest = rows.order_by("id").first(), rows.order_by("-id").first()
    if oldest is not None and oldest.old is None:
        return 0
    return 2 if newest is not None and newest.new is None else 1


def _undo(run: UndoneEvents) -> UndoneEvents:
    try:
        with transaction.atomic(using=conf.database):
            changed = _undo_run(run)
    except FlagstaffError as error:
        problem = error.problem if isinstance(error, ConflictError) else error.message
        return replace(run, problem=problem)
    return replace(run, key=changed.key, changed=changed)


def _undo_run(run: UndoneEvents) -> Changed:
    row = all_rows(run.kind.model).select_for_update().filter(pk=run.pk).first()
    item = Item(run.kind, run.key if row is None else row.key, run.pk, row)
    for event in run.events:
        if error := interleaved_conflict(item, event):
            raise error
    before = state_at(item, run.entries.first - 1)
    after = state_at(item, run.entries.last)
    return undo_entries(item, run.entries, before, after)
