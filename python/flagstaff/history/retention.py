"""Deletes from the history: old entries, and the traces of deleted users."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Model, QuerySet
from django.utils import timezone

from flagstaff._tables.database import db, fill, names, sql
from flagstaff._tables.rows import Kind, uncached
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text.times import TimeValue
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import DELETED_ROWS, FORGET_USER
from flagstaff.history.deleted import deleted_rows
from flagstaff.history.log import Change, require_history

# The entries that one transaction deletes: some ten milliseconds.
_BATCH = 1_000
# Transactions that overlap, and clocks that differ a little, do not stop the deletion for long.
_MAX_DISORDER = timedelta(days=1)


def prune(older_than: timedelta) -> int:
    """Deletes entries older than `older_than` and returns their number.

    The newest entry of each existing flag, value and segment stays, because it is its version. A
    state from before the oldest remaining entry can no longer be restored. Each thousand entries
    are a transaction of their own. Raises NoHistoryError, and FlagstaffError if an entry with a
    late time keeps the older ones after it.
    """
    require_history()
    return sum(prune_in_batches(timezone.now() - older_than))


def prune_in_batches(before: datetime) -> Iterator[int]:
    """Deletes entries older than a time, and yields the number of each batch, which is committed.

    Then the events of rows of optional apps that were deleted before that.
    A caller may stop between two batches. Raises NoHistoryError, and FlagstaffError as `prune`.
    """
    require_history()
    statement = fill(sql("prune_history_v1"), names(db.connection))
    tables = {f"{kind.value}s": db.table(kind.model) for kind in Kind}
    yield from db.delete_in_batches(statement, {**tables, "before": before}, _BATCH)
    _require_order(before)
    for model in DELETED_ROWS:
        yield from _prune_deleted(model, before)


def _prune_deleted(model: type[Model], before: datetime) -> Iterator[int]:
    rows = deleted_rows(model)
    old = rows.filter(ended_at__lt=before).values_list("pk", flat=True)
    while batch := [*old[:_BATCH]]:
        rows.filter(pk__in=batch).delete()
        yield len(batch)


def _require_order(before: datetime) -> None:
    """Raises FlagstaffError if the deletion has stopped before entries that are much older."""
    # Also of tables that are no longer watched.
    entries = uncached(QuerySet(Change, using=db.alias))
    stop = entries.filter(at__gte=before).order_by("id").only("at").first()
    if stop is None:
        return
    # In the order of the index: there are few old entries, and perhaps millions of new ones.
    older = entries.filter(at__lt=before - _MAX_DISORDER, id__gt=stop.pk).order_by("at")
    if older.only("pk").first() is not None:
        raise FlagstaffError(
            "stopped at entry {id}, whose time is {time}: older entries after it stay until it is "
            "as old; if its time is wrong, correct it in {table}",
            id=str(stop.pk),
            time=TimeValue(stop.at),
            table=Change._meta.db_table,
        )


def forget_user(pk: object) -> int:
    """Removes a deleted user from the history and returns the number of changed entries.

    `pk` is a primary key or a user. The user is removed as the actor and from the allowed users;
    the entries stay. Optional apps remove the user as an actor, too. Texts, such as reasons, and
    columns of your own are not searched. Raises NoHistoryError.
    """
    require_history()
    text = _as_stored(str(getattr(pk, "pk", pk)))
    statement = fill(sql("forget_user_v1"), db.tables)
    with db.atomic():
        for forget in FORGET_USER:
            forget(text)
        with db.connection.cursor() as cursor:
            cursor.execute(statement, [text])
            return int(cursor.fetchone()[0])


def _as_stored(text: str) -> str:
    """A primary key as the history writes it; another text may be an actor such as "deploy"."""
    pk = allowed_user_table().parse(text)
    return text if pk is None else str(pk)
