"""Parts of a page that may fail: the page must work without their tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from django.db import connections, transaction
from django.http import HttpRequest

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.catalog import find_tables
from flagstaff._tables.names import own_names
from flagstaff.admin.page import page_of
from flagstaff.conf import conf

_Value = TypeVar("_Value")

logger = logging.getLogger("flagstaff")
_TABLES = ("change_table", "usage_table", "worker_table")


def value_or_default(problem: str, compute: Callable[[], _Value], default: _Value) -> _Value:
    """Returns what `compute` returns. If it fails, logs the problem and returns `default`."""
    database = conf.database
    # A query that fails must not end the surrounding transaction.
    is_in_block = connections[database].in_atomic_block
    try:
        with transaction.atomic(using=database) if is_in_block else nullcontext():
            return compute()
    except Exception:
        logger.exception("%s", problem)
        return default


@dataclass(frozen=True)
class _Readable:
    """The tables of which all rows can be read."""

    tables: frozenset[str]


def can_read(request: HttpRequest, *tables: str) -> bool:
    """Whether all rows of these tables can be read, such as "usage_table".

    Queries for the first part of a page only.
    """
    return page_of(request).once(_Readable, _find).tables.issuperset(tables)


def _find() -> _Readable:
    connection = connections[conf.database]
    if not is_postgresql(connection):
        return _Readable(frozenset())
    names = own_names(connection)
    found = find_tables(connection, *(names[table] for table in _TABLES))
    return _Readable(
        frozenset(
            table
            for table in _TABLES
            if (one := found.get(names[table])) and one.may_read and not one.hides_rows
        )
    )
