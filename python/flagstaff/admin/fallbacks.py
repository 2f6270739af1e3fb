"""Parts of a page: read once for a request, and left out if they cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from django.db import connections, transaction
from django.http import HttpRequest

from flagstaff._tables.catalog import find_tables
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind

_Value = TypeVar("_Value")

logger = logging.getLogger("flagstaff")
_TABLES = ("change_table", "usage_table")


def once(request: HttpRequest, name: str, read: Callable[[], _Value]) -> _Value:
    """Returns what `read` returns for this name. Calls it once for a request."""
    cached: dict[str, Any] = vars(request).setdefault("flagstaff_read", {})
    if name not in cached:
        cached[name] = read()
    value: _Value = cached[name]
    return value


def value_or_default(problem: str, compute: Callable[[], _Value], default: _Value) -> _Value:
    """Returns what `compute` returns. If it fails, logs the problem and returns `default`."""
    try:
        with savepoint():
            return compute()
    except Exception:
        logger.exception("%s", problem)
        return default


def savepoint() -> AbstractContextManager[None]:
    """Keeps a query that fails from ending the surrounding transaction."""
    database = db.alias
    is_in_block = connections[database].in_atomic_block
    return transaction.atomic(using=database) if is_in_block else nullcontext()


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
