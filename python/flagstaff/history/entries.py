"""Reads entries from the database in batches, newest first, as the caller iterates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Case, F, Func, IntegerField, Max, Min, QuerySet, Value, When
from django.db.models.expressions import Combinable

from flagstaff.history.grouping import COLUMNS, MAX_TRANSACTION_AGE, Entry, Subject, subject_of
from flagstaff.history.kinds import ALLOWED_USERS
from flagstaff.models import Change, RecordedJSONField

__all__ = ["read_entries"]

# Most callers want one page. The others get larger batches, in fewer queries.
_FIRST_BATCH, _MAX_BATCH = 200, 6_400
_IS_USER_LIST = {"relation": ALLOWED_USERS}
_FIELDS = (*COLUMNS, "key", "action")
# Qualified, because a function of others in the search path could match the arguments better.
_QUERY_PATH = "pg_catalog.jsonb_path_query_array"
_ARRAY_LENGTH = "pg_catalog.jsonb_array_length"


def read_entries(
    entries: QuerySet[Change], *, max_users: int | None, before: int | None = None
) -> Iterator[Entry]:
    """Yields entries whose id is below `before`, with the columns that `group_entries` reads.

    `is_first` is True for the oldest entry of a transaction about one flag or value. Of an event
    that began below `before` and ended above it, the newer entries are yielded too, so that the
    caller sees that the event is not older. Lists of users are cut to `max_users` in the database.
    """
    ordered = entries.order_by("-id").values(*_FIELDS, **_user_lists(max_users))
    seen: set[Subject] = set()
    below, size = before, _FIRST_BATCH
    while True:
        batch = list((ordered if below is None else ordered.filter(id__lt=below))[:size])
        ends = _ends(entries, batch) if batch else {}
        if before is not None:
            crossing = {one for one, (_, last) in ends.items() if last >= before} - seen
            seen |= ends.keys()
            yield from _newer_part(ordered.filter(id__gte=before), crossing)
        for entry in batch:
            first, _last = ends[subject_of(entry)]
            yield _as_entry(entry, is_first=entry["id"] == first)
        if len(batch) < size:
            return
        below, size = batch[-1]["id"], min(size * 2, _MAX_BATCH)


def _ends(entries: QuerySet[Change], batch: list[Entry]) -> dict[Subject, tuple[int, int]]:
    """The ids of the oldest and the newest entry of each transaction about each flag or value."""
    oldest, newest = (pick(entry["at"] for entry in batch) for pick in (min, max))
    near = entries.filter(
        transaction_id__in={entry["transaction_id"] for entry in batch},
        object_pk__in={entry["object_pk"] for entry in batch},
        at__range=(oldest - MAX_TRANSACTION_AGE, newest + MAX_TRANSACTION_AGE),
    )
    found: dict[Subject, tuple[int, int]] = {}
    groups = near.order_by().values("transaction_id", "relation", "object_pk")
    for group in groups.annotate(first=Min("id"), last=Max("id")):
        subject = subject_of(group)
        first, last = found.get(subject, (group["first"], group["last"]))
        found[subject] = min(first, group["first"]), max(last, group["last"])
    return found


def _newer_part(newer: QuerySet[Change, Any], subjects: set[Subject]) -> Iterator[Entry]:
    if not subjects:
        return
    found = newer.filter(
        transaction_id__in={transaction for transaction, _, _ in subjects},
        object_pk__in={pk for _, _, pk in subjects},
    )
    for entry in found:
        if subject_of(entry) in subjects:
            yield _as_entry(entry, is_first=False)


def _as_entry(entry: Entry, *, is_first: bool) -> Entry:
    return {**entry, "old": entry["cut_old"], "new": entry["cut_new"], "is_first": is_first}


def _user_lists(limit: int | None) -> dict[str, Combinable]:
    return {
        "cut_old": _cut("old", limit),
        "cut_new": _cut("new", limit),
        "removed": _length("old"),
        "added": _length("new"),
    }


def _cut(field: str, limit: int | None) -> Combinable:
    if limit is None:
        return F(field)
    if limit == 0:
        head: Value | Func = Value([], output_field=RecordedJSONField())
    else:
        path = Func(Value(f"$[0 to {limit - 1}]"), template="(%(expressions)s)::jsonpath")
        head = Func(F(field), path, function=_QUERY_PATH, output_field=RecordedJSONField())
    return Case(
        When(**_IS_USER_LIST, then=head), default=F(field), output_field=RecordedJSONField()
    )


def _length(field: str) -> Combinable:
    length = Func(F(field), function=_ARRAY_LENGTH, output_field=IntegerField())
    return Case(When(**_IS_USER_LIST, then=length), default=Value(0))
