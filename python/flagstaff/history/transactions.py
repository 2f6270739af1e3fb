"""What one transaction did to many: events that belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Min, QuerySet

from flagstaff.history.events import Event
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import LONGEST_OPEN, all_entries
from flagstaff.models import Change

__all__ = ["Part", "parts_beside", "parts_of"]


@dataclass(frozen=True)
class Part:
    """What a transaction did to one flag or value."""

    kind: Kind
    #: The primary key, as the history has it.
    pk: str
    key: str
    #: Its first and its last entry about it.
    first: int
    last: int
    #: Whether it made the row, and whether it deleted it.
    creates: bool = False
    deletes: bool = False


def parts_of(change: int) -> list[Part]:
    """What was changed together with a change, itself included: flags, then values, by key.

    Nothing where there is no such change.
    """
    entry = all_entries().filter(id=change).first()
    if entry is None:
        return []
    return _parts([(entry.transaction_id, entry.at)])[entry.transaction_id]


def parts_beside(events: Collection[Event]) -> dict[int, list[Part]]:
    """The same for the transactions of many events, by transaction."""
    return _parts([(event.transaction_id, event.at) for event in events]) if events else {}


def _parts(asked: list[tuple[int, datetime]]) -> dict[int, list[Part]]:
    moments = dict(asked)
    near = min(moments.values()) - LONGEST_OPEN, max(moments.values()) + LONGEST_OPEN
    found = all_entries().filter(transaction_id__in=list(moments), at__range=near)
    parts: dict[int, list[Part]] = defaultdict(list)
    for transaction, part in _spans(found, moments):
        parts[transaction].append(part)
    for some in parts.values():
        some.sort(key=lambda part: (part.kind.value, part.key))
    return parts


def _spans(found: QuerySet[Change], moments: dict[int, datetime]) -> Iterator[tuple[int, Part]]:
    of = found.order_by().values_list("transaction_id", "relation", "object_pk")
    ends: dict[tuple[int, Kind, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for transaction, relation, pk, first, last, at in of.annotate(Min("id"), Max("id"), Min("at")):
        if abs(at - moments[transaction]) <= LONGEST_OPEN:
            ends[transaction, Kind.of(relation), pk][relation] = first, last
    said = _said({entry for spans in ends.values() for span in spans.values() for entry in span})
    for (transaction, kind, pk), spans in ends.items():
        first, last = min(low for low, _ in spans.values()), max(high for _, high in spans.values())
        # SQL may write an allow-list before its flag, or after it. What becomes of the row is in
        # the entries of the row alone.
        low, high = spans.get(kind.row_relation, (first, last))
        creates, deletes = said[low][1] == "insert", said[high][1] in ("delete", "truncate")
        yield transaction, Part(kind, pk, said[high][0], first, last, creates, deletes)


def _said(ids: Collection[int]) -> dict[int, tuple[Any, str]]:
    """Of entries: the key, and what was done to the row. An allow-list is no row."""
    rows = all_entries().filter(id__in=list(ids)).values_list("id", "key", "action", "relation")
    return {
        pk: (key, "" if relation == ALLOWED_USERS else action) for pk, key, action, relation in rows
    }
