"""Deletes from the history: old entries, and the traces of deleted users."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.utils import timezone

from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.names import fill, names, own_names, sql
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.conf import conf
from flagstaff.extensions import FORGET_USER
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_history

# The entries that one transaction deletes: some ten milliseconds.
_BATCH = 1_000


def prune(older_than: timedelta) -> int:
    """Deletes entries older than `older_than` and returns their number.

    The newest entry of each existing flag, value and segment stays, because it is its version. A
    state from before the oldest remaining entry can no longer be restored. Each thousand entries
    are a transaction of their own. Raises NoHistoryError.
    """
    require_history()
    return sum(prune_in_batches(timezone.now() - older_than))


def prune_in_batches(before: datetime) -> Iterator[int]:
    """Deletes entries older than a time, and yields the number of each batch, which is committed.

    A caller may stop between two batches. Raises NoHistoryError.
    """
    require_history()
    connection = connections[conf.database]
    statement = fill(sql("prune_history_v1"), names(connection))
    quote = connection.ops.quote_name
    tables = {f"{kind.value}s": quote(kind.model._meta.db_table) for kind in Kind}
    return delete_in_batches(connection, statement, {**tables, "before": before}, _BATCH)


def forget_user(pk: object) -> int:
    """Removes a deleted user from the history and returns the number of changed entries.

    `pk` is a primary key or a user. The user is removed as the actor and from the allowed users;
    the entries stay. Optional apps remove the user as an actor, too. Texts, such as reasons, and
    columns of your own are not searched. Raises NoHistoryError.
    """
    require_history()
    text = _as_stored(str(getattr(pk, "pk", pk)))
    statement = fill(sql("forget_user_v1"), own_names(connections[conf.database]))
    with transaction.atomic(using=conf.database):
        for forget in FORGET_USER:
            forget(text)
        with connections[conf.database].cursor() as cursor:
            cursor.execute(statement, [text])
            return int(cursor.fetchone()[0])


def _as_stored(text: str) -> str:
    """A primary key as the history writes it; another text may be an actor such as "deploy"."""
    pk = allowed_user_table().parse(text)
    return text if pk is None else str(pk)
