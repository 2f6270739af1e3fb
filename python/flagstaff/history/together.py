"""What one transaction did to many: events that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Max, Min, QuerySet

from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import Change

__all__ = ["Part", "parts_of"]

# No transaction is open for longer. What another server has numbered alike, before a restore, is
# further away.
_OPEN = timedelta(days=1)


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


def parts_of(change: int) -> list[Part]:
    """What was changed together with a change, itself included: flags, then values, by key.

    Nothing where there is no such change.
    """
    entry = all_entries().filter(id=change).first()
    if entry is None:
        return []
    parts = _parts(_beside(entry))
    return sorted(parts, key=lambda part: (part.kind.value, part.key))


def _beside(entry: Change) -> QuerySet[Change]:
    near = entry.at - _OPEN, entry.at + _OPEN
    return all_entries().filter(transaction_id=entry.transaction_id, at__range=near)


def _parts(found: QuerySet[Change]) -> Iterable[Part]:
    ends = found.order_by().values_list("src", "object_pk").annotate(Min("id"), Max("id"))
    spans: dict[tuple[Kind, str], tuple[int, int]] = {}
    for source, pk, first, last in ends:
        of = Kind.of(source), pk
        low, high = spans.get(of, (first, last))
        spans[of] = min(low, first), max(high, last)
    keys = dict(found.filter(id__in=[last for _, last in spans.values()]).values_list("id", "key"))
    for (kind, pk), (first, last) in spans.items():
        yield Part(kind, pk, keys[last], first, last)
