"""Parts of a page: read once for a request, and left out if they cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from django.http import HttpRequest

from flagstaff._tables.catalog import find_tables
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind

Item = TypeVar("Item")

_TABLES = ("change_table", "usage_table")


def once(request: HttpRequest, name: str, read: Callable[[], Item]) -> Item:
    """Returns what `read` returns for this name. Calls it once for a request."""
    cached: dict[str, Any] = vars(request).setdefault("flagstaff_read", {})
    if name not in cached:
        cached[name] = read()
    value: Item = cached[name]
    return value


def can_read(request: HttpRequest, table: str | Kind) -> bool:
    """Whether all rows of a table can be read, such as "usage_table", or those of a kind.

    Queries for the first part of a page only.
    """
    return table in once(request, "readable tables", _readable)


def _readable() -> Collection[str | Kind]:
    if not db.is_postgresql:
        return ()
    names = db.tables
    kinds = {kind: db.table(kind.model) for kind in Kind}
    by_name = find_tables(db.connection, *(names[table] for table in _TABLES), *kinds.values())
    tables = {table: by_name.get(names[table]) for table in _TABLES}
    return {
        *(
            name
            for name, table in tables.items()
            if table and table.may_read and not table.hides_rows
        ),
        *(kind for kind, name in kinds.items() if name not in by_name or by_name[name].may_read),
    }
