"""The queries of direct mode: through the driver's own cursor, below Django's.

The raw cursor sees the open transaction, does not count in `assertNumQueries`, and leaves Django's
connection as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.raw_cursor import run, savepoint
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.database import db
from flagstaff._tables.names import engine_names, fill
from flagstaff.exceptions import FlagstaffError

_T = TypeVar("_T")

Row: TypeAlias = tuple[Any, ...]

# Seconds. Longer than any row takes, and an end to a deadlock with a thread that waits for us.
_THREAD_TIMEOUT = 5.0

# Another operator in the search path could match a column of varchar better.
_EQUALS = "OPERATOR(pg_catalog.=)"


class NotReadyError(FlagstaffError):
    """the database cannot be queried for flags here"""


def select(*queries: tuple[str, Sequence[object]]) -> list[list[Row]]:
    """Returns the rows of each query, a template with names of tables and columns, and parameters.

    `{equals}` is the operator that compares a column with a parameter.

    Raises NotReadyError if the database cannot be queried.
    """
    connection = db.connection
    on_postgresql = is_postgresql(connection)
    names = {**engine_names(connection), "equals": _EQUALS if on_postgresql else "="}
    results = []
    try:
        with _open_connection(connection), savepoint(connection) as errors:
            for template, parameters in queries:
                statement = template if on_postgresql else template.replace("%s", "?")
                results.append(run(connection, fill(statement, names), parameters))
    # An evaluation must not raise: not for a missing table, a test that forbids the database, or a
    # failed transaction.
    except Exception as error:
        raise NotReadyError from error
    if errors:
        raise NotReadyError from errors[0]
    return results


@contextmanager
def _open_connection(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Opens the connection for the block if it is closed.

    A connection left open in a thread would keep the test database from being dropped.
    """
    if connection.connection is not None:
        _require_access(connection)
        yield
        return
    connection.ensure_connection()
    try:
        yield
    finally:
        # Not connection.close(), which does nothing for SQLite in memory.
        BaseDatabaseWrapper.close(connection)


def _require_access(connection: BaseDatabaseWrapper) -> None:
    """Raises NotReadyError if a test case forbids the database, although a connection is open."""
    # Django replaces the first of these methods, pytest-django the second.
    forbidden = type(connection.cursor).__name__ == "_DatabaseFailure"
    blocked = connection.ensure_connection.__name__ == "_blocking_wrapper"
    if forbidden or blocked:
        raise NotReadyError


def run_in_connection_thread(work: Callable[[], _T]) -> _T:
    """Runs `work` in the thread whose connection has the test's transaction.

    Django runs the event loop of an async test beside the test's own thread, and its async ORM
    returns to that thread through asgiref. This function does the same. Raises NotReadyError if
    that thread is not available in time.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work()
    if db.connection.connection is not None:
        return work()
    executor = (
        getattr(AsyncToSync.executors, "current", None)
        or AsyncToSync.loop_thread_executors.get(loop)
        or SyncToAsync.single_thread_executor
    )
    try:
        return executor.submit(work).result(_THREAD_TIMEOUT)
    # Until Python 3.11 this was not the builtin of the same name.
    except FutureTimeoutError as error:
        raise NotReadyError from error
