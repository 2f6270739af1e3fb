"""Which events of which rows an undo is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flagstaff._tables.user_lookup import batches
from flagstaff.changes.changed import quoted_command
from flagstaff.changes.past import RowId, find_item
from flagstaff.changes.restore_version import no_version_of_key
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.grouping import COLUMNS, Entry, Group, group_entries, subject_of
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, require_history
from flagstaff.history.reading import EntryRange
from flagstaff.history.transactions import parts_of

_COLUMNS = (*COLUMNS, "key")


@dataclass(frozen=True)
class RowEvents:
    """The events of one row that are to be undone."""

    row: RowId
    key: str
    #: Newest first.
    events: tuple[EntryRange, ...]


def select_versions(versions: Iterable[int]) -> list[RowEvents]:
    """Returns the events that have these versions, by row.

    Raises NoHistoryError, and InvalidChangeError if there is no such version.
    """
    require_history()
    newest_first = sorted(set(versions), reverse=True)
    named = {
        entry["id"]: entry
        for batch in batches(newest_first)
        for entry in Change.objects.filter(pk__in=batch).values(*_COLUMNS)
    }
    for version in newest_first:
        if version not in named:
            raise _no_version(version)
    groups = {entry["id"]: group for group in _groups(named.values()) for entry in group}
    rows: dict[RowId, dict[EntryRange, None]] = defaultdict(dict)
    keys: dict[RowId, str] = {}
    for version in newest_first:
        group, entry = groups[version], named[version]
        row = RowId(Kind.of(entry["relation"]), entry["object_pk"])
        rows[row][EntryRange(group[-1]["id"], group[0]["id"])] = None
        keys.setdefault(row, entry["key"])
    return [RowEvents(row, keys[row], _newest_first(events)) for row, events in rows.items()]


def select_transaction(version: int) -> list[RowEvents]:
    """Returns all events of the transaction that wrote an entry: one for each row, by key.

    Raises as `select_versions` does.
    """
    require_history()
    parts = parts_of(version)
    if not parts:
        raise _no_version(version)
    return [
        RowEvents(RowId(part.kind, part.pk), part.key, (EntryRange(part.first, part.last),))
        for part in parts
    ]


def select_of_key(kind: Kind, key: str, version: int | None) -> list[RowEvents]:
    """Returns the event of the row of a key that has this version; by default the newest event.

    Raises NoHistoryError, UnknownFlagError or UnknownValueError, and InvalidChangeError if the row
    has no such event.
    """
    pk = find_item(kind, key, lock=False).pk
    changes = Change.objects.of_row(kind, pk)
    changes = changes if version is None else changes.filter(id=version)
    newest = changes.order_by("-id").values_list("id", flat=True).first()
    if newest is None:
        if version is not None:
            raise no_version_of_key(kind, key, version)
        raise InvalidChangeError("the history of {key} has no change to undo", key=key)
    return select_versions([newest])


def _groups(named: Iterable[Entry]) -> Iterator[Group]:
    """The events of the transactions that wrote these entries, about the same rows."""
    subjects = {subject_of(entry) for entry in named}
    transactions = {number for number, _kind, _pk in subjects}
    entries = []
    for batch in batches({pk for _number, _kind, pk in subjects}):
        same = Change.objects.filter(transaction_id__in=transactions, object_pk__in=batch)
        entries += [entry for entry in same.values(*COLUMNS) if subject_of(entry) in subjects]
    return group_entries(sorted(entries, key=lambda entry: entry["id"], reverse=True))


def _newest_first(events: Iterable[EntryRange]) -> tuple[EntryRange, ...]:
    return tuple(sorted(events, key=lambda event: event.last, reverse=True))


def runs_of(events: Sequence[EntryRange], newest_first: Iterable[int]) -> list[list[EntryRange]]:
    """Returns the events of a row in runs without another entry of the row in between.

    `newest_first` are all entries of the row since the oldest of the events.
    """
    other_entries = [
        entry
        for entry in newest_first
        if not any(event.first <= entry <= event.last for event in events)
    ]
    runs: list[list[EntryRange]] = []
    for event in events:
        last = runs[-1][-1] if runs else None
        if last is not None and not any(event.last < entry < last.first for entry in other_entries):
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs


def _no_version(version: int) -> InvalidChangeError:
    return InvalidChangeError(
        "the history has no version {version}; see {command}",
        version=str(version),
        command=quoted_command("history"),
    )
