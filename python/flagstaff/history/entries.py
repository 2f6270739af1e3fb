"""Reads entries from the database in batches, newest first, as the caller iterates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Case, F, Func, IntegerField, Max, Min, QuerySet, TextField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast
from django.db.models.lookups import GreaterThan

from flagstaff._words.json_text import LongJson
from flagstaff.history.grouping import COLUMNS, MAX_TRANSACTION_AGE, Entry, Subject, subject_of
from flagstaff.history.kinds import ALLOWED_USERS
from flagstaff.models import Change, RecordedJSONField

# Most callers want one page. The others get larger batches, in fewer queries.
_FIRST_BATCH, _MAX_BATCH = 200, 6_400
_IS_USER_LIST = {"relation": ALLOWED_USERS}
_FIELDS = (*COLUMNS, "key", "action", "undoes")
# Qualified, because a function of others in the search path could match the arguments better.
_QUERY_PATH = "pg_catalog.jsonb_path_query_array"
# The size of a value in bytes. That of the row would differ between rows with the same value.
_STORED_SIZE = "pg_catalog.pg_column_size"
_LONG = 2_000
_WITHOUT = " OPERATOR(pg_catalog.-) "
_START = (
    "(SELECT pg_catalog.jsonb_build_object('start', pg_catalog.left(whole, 300), "
    "'length', pg_catalog.length(whole), 'digest', pg_catalog.md5(whole)) "
    "FROM (SELECT (%(expressions)s)::text AS whole OFFSET 0) AS texts)"
)
_ARRAY_LENGTH = "pg_catalog.jsonb_array_length"


def read_entries(
    entries: QuerySet[Change],
    *,
    max_users: int | None,
    before: int | None = None,
    batch: int | None = None,
    long_value: str | None = None,
) -> Iterator[Entry]:
    """Yields entries whose id is below `before`, with the columns that `group_entries` reads.

    `is_first` is True for the oldest entry of a transaction about one flag or value. Of an event
    that began below `before` and ended above it, the newer entries are yielded too, so that the
    caller sees that the event is not older. Lists of users are cut to `max_users` in the database.
    `batch` is the number of entries that are read first. If `long_value` is the name of a column,
    of long JSON in it only the start is read, as LongJson.
    """
    columns = _user_lists(max_users) if long_value is None else _values(long_value)
    ordered = entries.order_by("-id").values(*_FIELDS, **columns)
    seen: set[Subject] = set()
    below, size = before, min(batch or _FIRST_BATCH, _FIRST_BATCH)
    while True:
        found_entries = list((ordered if below is None else ordered.filter(id__lt=below))[:size])
        ends = _ends(entries, found_entries) if found_entries else {}
        if before is not None:
            crossing = {subject for subject, (_, last) in ends.items() if last >= before} - seen
            seen |= ends.keys()
            newer = _newer_part(ordered.filter(id__gte=before), crossing)
            yield from (_with_long_value(entry, long_value) for entry in newer)
        for entry in found_entries:
            first, _last = ends[subject_of(entry)]
            read = _as_entry(entry, is_first=entry["id"] == first)
            yield _with_long_value(read, long_value)
        if len(found_entries) < size:
            return
        below, size = found_entries[-1]["id"], min(size * 2, _MAX_BATCH)


def _ends(entries: QuerySet[Change], batch: list[Entry]) -> dict[Subject, tuple[int, int]]:
    """The ids of the oldest and the newest entry of each transaction about each flag or value."""
    oldest, newest = (pick(entry["at"] for entry in batch) for pick in (min, max))
    near = entries.filter(
        transaction_id__in={entry["transaction_id"] for entry in batch},
        object_pk__in={entry["object_pk"] for entry in batch},
        at__range=(oldest - MAX_TRANSACTION_AGE, newest + MAX_TRANSACTION_AGE),
    )
    ends: dict[Subject, tuple[int, int]] = {}
    groups = near.order_by().values("transaction_id", "relation", "object_pk")
    for group in groups.annotate(first=Min("id"), last=Max("id")):
        subject = subject_of(group)
        first, last = ends.get(subject, (group["first"], group["last"]))
        ends[subject] = min(first, group["first"]), max(last, group["last"])
    return ends


def _newer_part(newer: QuerySet[Change, Any], subjects: set[Subject]) -> Iterator[Entry]:
    if not subjects:
        return
    entries = newer.filter(
        transaction_id__in={transaction for transaction, _, _ in subjects},
        object_pk__in={pk for _, _, pk in subjects},
    )
    for entry in entries:
        if subject_of(entry) in subjects:
            yield _as_entry(entry, is_first=False)


def _as_entry(entry: Entry, *, is_first: bool) -> Entry:
    return {**entry, "old": entry["cut_old"], "new": entry["cut_new"], "is_first": is_first}


def _with_long_value(entry: Entry, column: str | None) -> Entry:
    """Puts a LongJson into the rows whose long value the database has cut."""
    if column is None:
        return entry
    starts = {side: entry[f"{side}_start"] for side in ("old", "new")}
    rows = {
        side: {**entry[side], column: LongJson(**start)}
        for side, start in starts.items()
        if start and start["length"]
    }
    return {**entry, **rows}


def _values(column: str) -> dict[str, Combinable]:
    """The columns of entries about values. Of a long value there is the start."""
    columns: dict[str, Combinable] = {"removed": Value(0), "added": Value(0)}
    for side in ("old", "new"):
        size = Func(KeyTransform(column, side), function=_STORED_SIZE, output_field=IntegerField())
        is_long = GreaterThan(size, _LONG)
        name = Cast(Value(column), TextField())
        rest = Func(F(side), name, template="(%(expressions)s)", arg_joiner=_WITHOUT)
        start = Func(KeyTransform(column, side), template=_START)
        columns[f"cut_{side}"] = Case(
            When(is_long, then=rest), default=F(side), output_field=RecordedJSONField()
        )
        columns[f"{side}_start"] = Case(When(is_long, then=start), output_field=RecordedJSONField())
    return columns


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
