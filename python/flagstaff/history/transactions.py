"""What one transaction did to several flags and values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Min, QuerySet

from flagstaff.history.events import Event
from flagstaff.history.grouping import MAX_TRANSACTION_AGE, Subject, subject_of
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import Change

__all__ = ["Part", "parts_beside", "parts_of"]


@dataclass(frozen=True)
class Part:
    """What a transaction did to one flag or value, under any author."""

    kind: Kind
    #: The primary key as the history stores it.
    pk: str
    key: str
    #: The ids of its first and last entry about this row.
    first: int
    last: int
    creates: bool = False
    deletes: bool = False


def parts_of(change: int) -> list[Part]:
    """Returns all parts of the transaction of a change: flags, then values, by key.

    Returns an empty list if there is no such change.
    """
    entry = all_entries().filter(id=change).first()
    if entry is None:
        return []
    return _parts({entry.transaction_id: entry.at})[entry.transaction_id]


def parts_beside(events: Collection[Event]) -> dict[int, list[Part]]:
    """Returns the parts of the transactions of these events, by transaction."""
    return _parts({event.transaction_id: event.at for event in events}) if events else {}


def _parts(times: Mapping[int, datetime]) -> dict[int, list[Part]]:
    """`times` has one point in time of each transaction, by its number."""
    near = min(times.values()) - MAX_TRANSACTION_AGE, max(times.values()) + MAX_TRANSACTION_AGE
    found = all_entries().filter(transaction_id__in=list(times), at__range=near)
    parts: dict[int, list[Part]] = defaultdict(list)
    for transaction, part in _read_parts(found, times):
        parts[transaction].append(part)
    for some in parts.values():
        some.sort(key=lambda part: (part.kind.value, part.key))
    return parts


def _read_parts(
    found: QuerySet[Change], times: Mapping[int, datetime]
) -> Iterator[tuple[int, Part]]:
    groups = found.order_by().values("transaction_id", "relation", "object_pk")
    ends: dict[Subject, dict[str, tuple[int, int]]] = defaultdict(dict)
    for group in groups.annotate(first=Min("id"), last=Max("id"), since=Min("at")):
        if abs(group["since"] - times[group["transaction_id"]]) <= MAX_TRANSACTION_AGE:
            ends[subject_of(group)][group["relation"]] = group["first"], group["last"]
    ids = {entry for ranges in ends.values() for one in ranges.values() for entry in one}
    details = _details(ids)
    for (transaction, kind, pk), ranges in ends.items():
        first = min(low for low, _ in ranges.values())
        last = max(high for _, high in ranges.values())
        # SQL may write the allowed users before their flag. Only the entries of the row say
        # whether it was created or deleted.
        low, high = ranges.get(kind.row_relation, (first, last))
        creates = details[low][1] == "insert"
        deletes = details[high][1] in {"delete", "truncate"}
        yield transaction, Part(kind, pk, details[high][0], first, last, creates, deletes)


def _details(ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """The key and the action of entries; the action is "" for entries about allowed users."""
    rows = all_entries().filter(id__in=list(ids)).values_list("id", "key", "action", "relation")
    return {
        pk: (key, "" if relation == ALLOWED_USERS else action) for pk, key, action, relation in rows
    }
