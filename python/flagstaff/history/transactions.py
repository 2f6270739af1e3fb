"""What one transaction did to several flags and values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from django.db.models import Max, Min

from flagstaff.history.grouping import Subject, subject_of
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import Change, ChangeQuerySet


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
    entry = Change.objects.filter(id=change).first()
    if entry is None:
        return []
    parts = _read_parts(Change.objects.in_transaction(entry))
    return sorted(parts, key=lambda part: (part.kind.value, part.key))


def _read_parts(changes: ChangeQuerySet) -> Iterator[Part]:
    """Yields the parts of one transaction, whose entries these are."""
    groups = changes.order_by().values("transaction_id", "relation", "object_pk")
    ends: dict[Subject, dict[str, tuple[int, int]]] = defaultdict(dict)
    for group in groups.annotate(first=Min("id"), last=Max("id")):
        ends[subject_of(group)][group["relation"]] = group["first"], group["last"]
    ids = {entry for ranges in ends.values() for bounds in ranges.values() for entry in bounds}
    details = _details(ids)
    for (_transaction, kind, pk), ranges in ends.items():
        first = min(low for low, _ in ranges.values())
        last = max(high for _, high in ranges.values())
        # SQL may write the allowed users before their flag. Only the entries of the row say
        # whether it was created or deleted.
        low, high = ranges.get(kind.row_relation, (first, last))
        creates = details[low][1] == "insert"
        deletes = details[high][1] in {"delete", "truncate"}
        yield Part(kind, pk, details[high][0], first, last, creates, deletes)


def _details(ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """The key and the action of entries; the action is "" for entries about allowed users."""
    rows = Change.objects.filter(id__in=list(ids)).values_list("id", "key", "action", "relation")
    return {
        pk: (key, "" if relation == ALLOWED_USERS else action) for pk, key, action, relation in rows
    }
