"""Reads the long values of events again, as a whole, so that a page can show what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flagstaff._events import Event
from flagstaff._tables.model_fields import column_of
from flagstaff._words.json_text import LongJson
from flagstaff.conf import conf
from flagstaff.models import Change

_VALUE = "value"
# Characters of one value, and of all values of a page.
_MAX_LENGTH, _MAX_TOTAL = 100_000, 1_000_000


def with_whole_values(events: Sequence[Event]) -> list[Event]:
    """Returns the events with whole values in the place of each LongJson that is not too long.

    One query. The first events come first: the others keep the start of their values when there
    are too many characters. Secret values are not read.
    """
    versions: set[int] = set()
    left = _MAX_TOTAL
    for event in events:
        if 0 < (length := _length(event)) <= left:
            versions.add(event.version)
            left -= length
    chosen = [event for event in events if event.version in versions]
    rows = _rows({id_ for event in chosen for id_ in (event.first, event.version)})
    return [_with_value(event, rows) if event.version in versions else event for event in events]


def _length(event: Event) -> int:
    """Returns the characters of the long value of an event; 0 if it has none, or a longer one."""
    if event.kind != "value" or event.action != "change":
        return 0
    lengths = [
        side.length
        for difference in event.differences
        if difference.field == _VALUE
        for side in (difference.old, difference.new)
        if isinstance(side, LongJson)
    ]
    return sum(lengths) if all(length <= _MAX_LENGTH for length in lengths) else 0


def _rows(ids: Iterable[int]) -> dict[int, tuple[Any, Any]]:
    entries = Change.objects.using(conf.database).filter(id__in=ids)
    sides = entries.values_list("id", "old", "new") if ids else []
    return {id_: (old, new) for id_, old, new in sides}


def _with_value(event: Event, rows: Mapping[int, tuple[Any, Any]]) -> Event:
    column = column_of(conf.value_model, _VALUE)
    old, new = rows.get(event.first, (None, None))[0], rows.get(event.version, (None, None))[1]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return event
    differences = (
        replace(difference, old=old.get(column), new=new.get(column))
        if difference.field == _VALUE
        else difference
        for difference in event.differences
    )
    return replace(event, differences=tuple(differences))
