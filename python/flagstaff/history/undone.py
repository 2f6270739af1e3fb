"""Which events were undone. An undo stores the events that it took back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flagstaff._events import Event
from flagstaff.history.events import ranges_of, same_json
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries


@dataclass(frozen=True)
class Undo:
    """An entry of an undo: its author, and the events that it took back."""

    version: int
    at: datetime
    row: tuple[str, str]
    ranges: tuple[tuple[int, int], ...]
    actor: str | None
    session_user: str

    def is_of(self, event: Event) -> bool:
        """Returns True if this is an entry of the event."""
        return self.row == _row(event) and event.first <= self.version <= event.version

    def takes_back(self, row: tuple[str, str], version: int) -> bool:
        """Returns True if it undoes the event of a row that has this version."""
        return self.row == row and any(first <= version <= last for first, last in self.ranges)


def undone_events(events: Sequence[Event], *, are_newest: bool) -> dict[int, Undo]:
    """Returns the undo that took back each event, by version. An undone undo takes nothing back.

    A query, unless `are_newest`: then the events are all the newest ones of their rows.
    """
    undos = _among(events) if are_newest else _read(events)
    valid: list[Undo] = []
    for undo in sorted(undos, key=lambda undo: undo.version, reverse=True):
        if _newest(valid, undo.row, undo.version) is None:
            valid.append(undo)
    found = ((event, _newest(valid, _row(event), event.version)) for event in events)
    return {event.version: undo for event, undo in found if undo is not None}


def _newest(newest_first: Iterable[Undo], row: tuple[str, str], version: int) -> Undo | None:
    return next((undo for undo in newest_first if undo.takes_back(row, version)), None)


def _row(event: Event) -> tuple[str, str]:
    return event.kind, event.object_pk


def _among(events: Iterable[Event]) -> list[Undo]:
    return [
        Undo(event.version, event.at, _row(event), event.undoes, event.actor, event.session_user)
        for event in events
        if event.undoes
    ]


def _read(events: Sequence[Event]) -> list[Undo]:
    if not events:
        return []
    entries = all_entries().filter(
        object_pk__in={event.object_pk for event in events},
        id__gt=min(event.version for event in events),
        undoes__isnull=False,
    )
    names = ("id", "at", "relation", "object_pk", "undoes", "actor", "session_user")
    return [
        Undo(
            entry["id"],
            entry["at"],
            (Kind.of(entry["relation"]).value, entry["object_pk"]),
            tuple(ranges_of(entry)),
            entry["actor"],
            entry["session_user"],
        )
        for entry in entries.values(*names)
    ]


def changed_again(newest: Iterable[Event]) -> set[int]:
    """Returns the versions of events whose undo a later event prevents, as far as events show it.

    They are the newest ones of their rows, and come newest first.
    """
    found, present = set(), defaultdict[tuple[str, str], dict[str, object]](dict)
    for event in newest:
        row = present[_row(event)]
        if event.action == "create" and row:
            found.add(event.version)
        for one in event.differences:
            now = row.setdefault(one.field, one.new)
            is_other = not any(same_json(now, side) for side in (one.old, one.new))
            if event.action == "change" and not one.secret and is_other:
                found.add(event.version)
    return found
