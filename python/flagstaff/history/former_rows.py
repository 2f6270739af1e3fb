"""Rows that had a key before, and no longer have it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from flagstaff._tables.names import fill, own_names, sql
from flagstaff._tables.rows import all_rows
from flagstaff._words.text import is_storable
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import has_history
from flagstaff.models import Change


@dataclass(frozen=True)
class FormerRow:
    """The row that last had a key, as its newest entry with that key shows it."""

    key: str
    #: The id of the entry.
    version: int
    at: datetime
    #: Whether the row was deleted then. If not, it was renamed, or deleted without an entry.
    was_deleted: bool
    object_pk: str
    actor: str | None
    #: The user of the database.
    session_user: str


def former_rows(kind: Kind, keys: Collection[str]) -> dict[str, FormerRow]:
    """Returns the rows that had these keys before, by key; not rows that have the key now.

    Makes up to three queries. Returns nothing without a history.
    """
    candidates = [key for key in dict.fromkeys(keys) if is_storable(key)]
    if not candidates or not has_history():
        return {}
    present = set(all_rows(kind.model).filter(key__in=candidates).values_list("key", flat=True))
    candidates = [key for key in candidates if key not in present]
    connection = connections[conf.database]
    table = connection.ops.quote_name(kind.model._meta.db_table)
    with connection.cursor() as cursor:
        query = fill(sql("former_rows_v1"), own_names(connection))
        cursor.execute(query, [candidates, kind.row_relation, table])
        rows = cursor.fetchall()
    return {row[0]: _former_row(*row) for row in rows}


def _former_row(  # noqa: PLR0913, PLR0917 (the columns of the query)
    key: str,
    version: int,
    at: datetime,
    action: str,
    object_pk: str,
    actor: str | None,
    session_user: str,
) -> FormerRow:
    was_deleted = action in {Change.Action.DELETE, Change.Action.TRUNCATE}
    return FormerRow(key, version, at, was_deleted, object_pk, actor, session_user)
