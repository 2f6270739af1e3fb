"""What one transaction did to several flags and values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Max, Min, QuerySet

from flagstaff._events import Event
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.history.grouping import MAX_TRANSACTION_AGE, Subject, subject_of
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import all_entries, of_transaction
from flagstaff.models import Change

# A transaction may have changed all flags, and a page shows many transactions.
_MAX_ENTRIES = 300


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
    parts = _read_parts(all_entries().filter(of_transaction(entry)))
    return sorted(parts, key=lambda part: (part.kind.value, part.key))


@dataclass(frozen=True)
class Together:
    """What one transaction did, as far as a page shows it."""

    #: The first parts of each kind that it created, deleted or changed, by key.
    parts: tuple[Part, ...]
    #: The number of all its parts. If it is not exact, there are more.
    count: int
    is_exact: bool
    #: The parts about values that begin with a secret one.
    secret: tuple[Part, ...]


def changes_together(events: Collection[Event], max_parts: int) -> dict[int, Together]:
    """Returns what the transactions of these events did, by transaction. One query.

    At least the first `max_parts` parts of each kind are returned. At most 300 entries of each
    transaction are read.
    """
    if not events:
        return {}
    connection = connections[conf.database]
    times = {event.transaction_id: aware(event.at) for event in events}
    parameters: dict[str, Any] = {
        "transactions": list(times),
        "times": list(times.values()),
        "age": MAX_TRANSACTION_AGE,
        "limit": _MAX_ENTRIES + 1,
        "shown": max_parts,
        "tables": [connection.ops.quote_name(kind.model._meta.db_table) for kind in Kind],
    }
    rows = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("transactions_v1"), own_names(connection)), parameters)
        for transaction, *row in cursor.fetchall():
            rows[transaction].append(row)
    return {transaction: _together(some) for transaction, some in rows.items()}


def _together(rows: Collection[list[Any]]) -> Together:
    """`rows` are those of `transactions_v1`, without the transaction."""
    parts, secret, counts, is_exact = [], [], {}, True
    for entries, alike, is_secret, relation, *values in rows:
        part = Part(Kind.of(relation), *values)
        parts.append(part)
        secret += [part] if is_secret else []
        counts[part.kind, part.creates, part.deletes] = alike
        is_exact = entries <= _MAX_ENTRIES
    parts.sort(key=lambda part: (part.kind.value, part.key))
    return Together(tuple(parts), sum(counts.values()), is_exact, tuple(secret))


def _read_parts(changes: QuerySet[Change]) -> Iterator[Part]:
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
    rows = all_entries().filter(id__in=list(ids)).values_list("id", "key", "action", "relation")
    return {
        pk: (key, "" if relation == ALLOWED_USERS else action) for pk, key, action, relation in rows
    }
