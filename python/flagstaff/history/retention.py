"""What leaves the history: entries that are old, and people who have gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from flagstaff._tables.names import fill, flag_names, own_names, sql, value_names
from flagstaff._tables.users import allowed_user_table
from flagstaff.conf import conf
from flagstaff.history.versions import require_history

__all__ = ["forget_user", "prune"]


def prune(older_than: timedelta) -> int:
    """Delete the entries that are older, and say how many they were.

    The newest entry of each flag and value that is there stays, because it is its version. What is
    older than the oldest entry that is left cannot be restored.
    """
    require_history()
    connection = connections[conf.database]
    names = {
        **own_names(connection),
        **flag_names(connection, conf.flag_model),
        **value_names(connection, conf.value_model),
    }
    return _run(fill(sql("prune_history_v1"), names), [timezone.now() - older_than])


def forget_user(pk: Any) -> int:
    """Take a user out of the history, and say how many entries named them.

    For somebody who was deleted: as the one who acts, and in the allow-lists. The entries stay.
    What people have typed, such as a reason, and columns of your own are not looked into.
    """
    require_history()
    text = _as_written(str(getattr(pk, "pk", pk)))
    names = own_names(connections[conf.database])
    return _run(fill(sql("forget_user_v1"), names), [text])


def _as_written(text: str) -> str:
    """A primary key as the history has it, whichever way it was typed."""
    pk = allowed_user_table().parse(text)
    # It may be a name such as "deploy".
    return text if pk is None else str(pk)


def _run(statements: str, parameters: list[Any]) -> int:
    with transaction.atomic(using=conf.database), connections[conf.database].cursor() as cursor:
        cursor.execute(statements, parameters)
        return int(cursor.fetchone()[0])
