"""The version of a flag or a value: the id of its newest entry in the history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import Max, Q, QuerySet

from flagstaff._tables.catalog import has_tables
from flagstaff._tables.names import own_names
from flagstaff._tables.triggers import trigger_health
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.models import Change

__all__ = [
    "LONGEST_OPEN",
    "all_entries",
    "entries",
    "entries_of_key",
    "flag_version",
    "has_history",
    "of_transaction",
    "require_history",
    "require_triggers",
    "value_version",
    "version_of",
    "versions_of",
]

#: No transaction is open for longer.
LONGEST_OPEN = timedelta(days=1)


def flag_version(key: str) -> int | None:
    """The version of a flag, its allow-list included; 0 where nothing was ever written down.

    None where there is no history, on other databases than PostgreSQL. Raises UnknownFlagError.
    """
    return version_of(Kind.FLAG, Kind.FLAG.row(key).pk)


def value_version(key: str) -> int | None:
    """The same for a value. Raises UnknownValueError."""
    return version_of(Kind.VALUE, Kind.VALUE.row(key).pk)


def version_of(kind: Kind, pk: Any) -> int | None:
    """The version of the row that has, or had, this primary key."""
    if not has_history():
        return None
    newest = entries(kind, pk).aggregate(newest=Max("id"))["newest"]
    return newest or 0


def versions_of(kind: Kind, pks: Iterable[Any]) -> dict[str, int]:
    """The versions of many rows that have one, by the text of their primary keys."""
    found = all_entries().filter(relation__in=kind.relations, object_pk__in=[str(pk) for pk in pks])
    newest = found.order_by().values("object_pk").annotate(newest=Max("id"))
    return dict(newest.values_list("object_pk", "newest"))


def entries(kind: Kind, pk: Any) -> QuerySet[Change]:
    """All entries about one row."""
    return all_entries().filter(relation__in=kind.relations, object_pk=str(pk))


def entries_of_key(kind: Kind, key: str) -> QuerySet[Change]:
    """All entries about the rows that had this key, without those about allow-lists."""
    return all_entries().filter(relation=kind.row_relation, key=key)


def all_entries() -> QuerySet[Change]:
    """Every entry."""
    return Change._base_manager.using(conf.database)


def of_transaction(entry: Change) -> Q:
    """The entries of the transaction of an entry.

    After a restore another server has numbered its transactions alike; those are further away.
    """
    near = entry.at - LONGEST_OPEN, entry.at + LONGEST_OPEN
    return Q(transaction_id=entry.transaction_id, at__range=near)


def has_history() -> bool:
    """Whether there is a history in this database."""
    connection = connections[conf.database]
    return has_tables(connection, own_names(connection)["change_table"])


def require_history() -> None:
    """Raise NoHistoryError where there is none."""
    if not has_history():
        raise NoHistoryError(
            f'database "{conf.database}" has no history: it is kept on PostgreSQL, and '
            '"manage.py migrate" makes its table'
        )


def require_triggers(kind: Kind) -> None:
    """Raises NoHistoryError if changes write no entries, so that no version advances."""
    models = (kind.model, None) if kind is Kind.FLAG else (None, kind.model)
    for health in trigger_health(connections[conf.database], *models):
        if not health.writes_history:
            raise NoHistoryError(
                f"changes of {health.table.name} leave no entry in the history, and so it has no "
                'version; "manage.py check --database" says how to install the triggers'
            )
