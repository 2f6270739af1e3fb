"""Which tables the page of a flag can read, found by one query for all its parts."""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.catalog import find_tables
from flagstaff._tables.names import own_names
from flagstaff.conf import conf

_TABLES = ("change_table", "usage_table", "worker_table")
# The attribute of a request.
_READABLE = "flagstaff_readable_tables"


def can_read(request: HttpRequest, *tables: str) -> bool:
    """Whether all rows of these tables can be read, such as "usage_table".

    Queries for the first part of a page only.
    """
    readable: frozenset[str] | None = vars(request).get(_READABLE)
    if readable is None:
        readable = vars(request)[_READABLE] = _find()
    return readable.issuperset(tables)


def _find() -> frozenset[str]:
    connection = connections[conf.database]
    if not is_postgresql(connection):
        return frozenset()
    names = own_names(connection)
    tables = find_tables(connection, *(names[table] for table in _TABLES))
    return frozenset(
        table
        for table in _TABLES
        if (known_table := tables.get(names[table]))
        and known_table.may_read
        and not known_table.hides_rows
    )
