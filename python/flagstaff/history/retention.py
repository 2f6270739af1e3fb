"""Deletes from the history: old entries, and the traces of deleted users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.utils import timezone

from flagstaff._extensions import optional_apps
from flagstaff._tables.names import fill, names, own_names, sql
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.conf import conf
from flagstaff.history.versions import require_history

__all__ = ["forget_user", "prune"]


def prune(older_than: timedelta) -> int:
    """Deletes entries older than `older_than` and returns their number.

    The newest entry of each existing flag, value and segment stays, because it is its version. A
    state from before the oldest remaining entry can no longer be restored. Raises NoHistoryError.
    """
    require_history()
    quoted = names(connections[conf.database])
    tables = (quoted["value_table"], quoted["flag_table"], quoted["segment_table"])
    statement = fill(sql("prune_history_v1"), quoted)
    return _run(statement, [timezone.now() - older_than, *tables])


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
        for app in optional_apps():
            app.forget_user(text)
        return _run(statement, [text])


def _as_stored(text: str) -> str:
    """A primary key as the history writes it; another text may be an actor such as "deploy"."""
    pk = allowed_user_table().parse(text)
    return text if pk is None else str(pk)


def _run(statement: str, parameters: Sequence[str | datetime]) -> int:
    with transaction.atomic(using=conf.database), connections[conf.database].cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return int(row[0]) if row else 0
