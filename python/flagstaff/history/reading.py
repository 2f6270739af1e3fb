"""Reads events for the undo."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from flagstaff._tables.rows import all_rows
from flagstaff.history.kinds import Kind
from flagstaff.history.log import ChangeQuerySet, Event, events


class EntryRange(NamedTuple):
    """The ids of the first and the last entry of an event."""

    first: int
    last: int


def read_events(
    _kind: Kind, changes: ChangeQuerySet, *, limit: int | None = None, shorten: bool = False
) -> Iterator[Event]:
    """Yields the events of these entries, newest first."""
    return islice(events((changes.short() if shorten else changes).in_batches()), limit)


def was_ever_secret(kind: Kind, pk: object) -> bool:
    """Returns True if the value is secret."""
    return kind is Kind.VALUE and str(pk) in ever_secret([str(pk)])


def ever_secret(pks: Collection[str]) -> Collection[str]:
    """Returns the values that are secret."""
    found = all_rows(Kind.VALUE.model).filter(pk__in=pks, secret=True)
    return {str(pk) for pk in found.values_list("pk", flat=True)}


def same_json(left: object, right: object) -> bool:
    """Returns True if both are the same JSON. In Python, True equals 1 and 1 equals 1.0."""
    return repr(left) == repr(right)
