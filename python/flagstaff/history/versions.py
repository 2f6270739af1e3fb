"""The version of a flag, a value or a segment: the id of its newest entry in the history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from django.db import connections
from django.db.models import Func, Max, Q, QuerySet, TextField, Value

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import flag_names, own_names
from flagstaff._tables.rows import all_rows
from flagstaff._tables.triggers import tables_without_history
from flagstaff._words.text import is_storable
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.grouping import MAX_TRANSACTION_AGE
from flagstaff.history.kinds import Kind
from flagstaff.models import Change


def flag_version(key: str) -> int | None:
    """Returns the version of a flag and its allowed users; 0 if it has no entry.

    Returns None if there is no history, on SQLite. Raises
    UnknownFlagError.
    """
    return version_of(Kind.FLAG, Kind.FLAG.row(key).pk)


def value_version(key: str) -> int | None:
    """Returns the version of a value, as `flag_version` does. Raises UnknownValueError."""
    return version_of(Kind.VALUE, Kind.VALUE.row(key).pk)


def segment_version(key: str) -> int | None:
    """Returns the version of a segment, as `flag_version` does. Raises UnknownSegmentError."""
    return version_of(Kind.SEGMENT, Kind.SEGMENT.row(key).pk)


def version_of(kind: Kind, pk: object) -> int | None:
    """Returns the version of the row that has, or had, this primary key; None without history."""
    return newest_version(kind, pk) if has_history() else None


def newest_version(kind: Kind, pk: object) -> int:
    """Returns the version of a row where there is a history, in one query."""
    newest: int | None = entries(kind, pk).aggregate(newest=Max("id"))["newest"]
    return newest or 0


def versions_of(kind: Kind, pks: Iterable[object]) -> dict[str, int]:
    """Returns the versions of the rows that have one, by the text of the primary key."""
    found = all_entries().filter(relation__in=kind.relations, object_pk__in=[str(pk) for pk in pks])
    newest = found.order_by().values("object_pk").annotate(newest=Max("id"))
    return dict(newest.values_list("object_pk", "newest"))


def newest_keys(kind: Kind, pks: Sequence[str]) -> list[str]:
    """Returns the keys that these rows had last, sorted; the primary key of a row without entry."""
    known: dict[str, str] = {}
    if pks and has_history():
        found = all_entries().filter(relation=kind.row_relation, object_pk__in=pks)
        known = dict(found.order_by("id").values_list("object_pk", "key"))
    return sorted(known.get(pk, pk) for pk in pks)


def deleted_pk(kind: Kind, key: str) -> str | None:
    """Returns the primary key of the row that last had this key, if it was deleted."""
    if not has_history():
        return None
    newest = entries_of_key(kind, key).order_by("-id").first()
    return None if newest is None or newest.new is not None else newest.object_pk


def entries(kind: Kind, pk: object) -> QuerySet[Change]:
    """Returns all entries about one row."""
    return all_entries().filter(relation__in=kind.relations, object_pk=str(pk))


def entries_of_key(kind: Kind, key: str) -> QuerySet[Change]:
    """Returns the entries about rows that had this key; not those about allowed users."""
    return all_entries().filter(relation=kind.row_relation, key=key)


def all_entries() -> QuerySet[Change]:
    """Returns all entries about the tables of FLAG_MODEL, VALUE_MODEL and segments.

    The same primary keys may belong to others in tables that were watched before.
    """
    tables = [_table_of(kind) for kind in Kind]
    entries: QuerySet[Change] = all_rows(Change).filter(object_table__in=tables)
    return entries


def _table_of(kind: Kind) -> Func:
    quoted = connections[conf.database].ops.quote_name(kind.model._meta.db_table)
    # As a subquery, so that the server resolves the name once, not for each entry.
    return Func(
        Value(quoted),
        template="(SELECT pg_catalog.to_regclass(%(expressions)s))",
        output_field=TextField(),
    )


def of_transaction(entry: Change) -> Q:
    """Returns a filter for the entries of the transaction that wrote `entry`.

    After a restore, another server may have used the same numbers at a different time.
    """
    near = entry.at - MAX_TRANSACTION_AGE, entry.at + MAX_TRANSACTION_AGE
    return Q(transaction_id=entry.transaction_id, at__range=near)


def has_history() -> bool:
    """Returns True if the flags' database has the table of the history, and shows all its rows."""
    return _why_unavailable() is None


def require_history() -> None:
    """Raises NoHistoryError if there is no history, or if some of its rows can be hidden.

    Without its newest entry, an undo would revert an older change.
    """
    if reason := _why_unavailable():
        raise NoHistoryError(
            'history is not available in database "{database}"; {reason}',
            database=conf.database,
            reason=reason,
        )


def _why_unavailable() -> str | None:
    connection = connections[conf.database]
    return why_unavailable(connection, own_names(connection)["change_table"])


def require_triggers(kind: Kind) -> None:
    """Raises NoHistoryError if changes leave no entry, because then versions never change."""
    connection = connections[conf.database]
    for table in tables_without_history(connection, *_watched_tables(kind)):
        command = f"manage.py check --database {conf.database}"
        raise NoHistoryError(
            'the history does not record {table}, so versions are unknown; run "{command}" to see '
            "how to install the triggers",
            table=table,
            command=command,
        )


def _watched_tables(kind: Kind) -> list[str]:
    connection = connections[conf.database]
    if kind is not Kind.FLAG:
        return [connection.ops.quote_name(kind.model._meta.db_table)]
    names = flag_names(connection, kind.model)
    return [names["flag_table"], names["allowed_users_table"]]


def about_key(kinds: Collection[Kind], key: str) -> Q:
    """Returns the condition for entries of the rows that have the key now, or had it. Queries."""
    if not is_storable(key):
        return Q(pk__in=())
    about = Q(key=key)
    for kind in kinds:
        row = kind.find(key)
        if row is not None:
            about |= Q(relation__in=kind.relations, object_pk=str(row.pk))
    return about
