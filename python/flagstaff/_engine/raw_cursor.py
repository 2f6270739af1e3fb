"""Reads through the driver's cursor below Django's: nothing counted, opened or broken.

The raw cursor sees what the open transaction has written, and leaves `assertNumQueries` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.names import fill, names
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

__all__ = ["NotReadyError", "in_the_right_thread", "select"]

_T = TypeVar("_T")

# Longer than any row takes, and an end to waiting for a thread that waits for us.
_PATIENCE = 5.0


class NotReadyError(FlagstaffError):
    """the database cannot be asked for flags here"""


def select(template: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    """The rows of a template, filled with the names of the project's tables.

    Raises NotReadyError where the database cannot be asked.
    """
    connection = connections[conf.database]
    statement = fill(template, names(connection))
    if connection.vendor == "sqlite":
        statement = statement.replace("%s", "?")
    try:
        with _opened(connection) as raw, _savepoint(connection, raw) as cursor:
            cursor.execute(statement, parameters)
            return [tuple(row) for row in cursor.fetchall()]
    # Whatever it is (no table yet, a test that forbids the database, a transaction that has
    # failed), a question must not raise it.
    except Exception as error:
        raise NotReadyError from error


@contextmanager
def _opened(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """The driver's connection. One that was not open is closed again.

    A connection that stayed open in a thread would keep the test database from being dropped.
    """
    if connection.connection is not None:
        _refuse_where_forbidden(connection)
        yield connection.connection
        return
    connection.ensure_connection()
    try:
        yield connection.connection
    finally:
        # Not connection.close(): for SQLite in memory that does nothing, and leaves it to others.
        BaseDatabaseWrapper.close(connection)


def _refuse_where_forbidden(connection: BaseDatabaseWrapper) -> None:
    """Do as a test case says that forbids the database, though a connection is open."""
    # Django puts this in the place of the method, pytest-django the other.
    forbidden = type(connection.cursor).__name__ == "_DatabaseFailure"
    blocked = connection.ensure_connection.__name__ == "_blocking_wrapper"
    if forbidden or blocked:
        raise NotReadyError


@contextmanager
def _savepoint(connection: BaseDatabaseWrapper, raw: Any) -> Iterator[Any]:
    """A raw cursor, on which a failed statement leaves the user's transaction as it was."""
    with closing(raw.cursor()) as cursor:
        if connection.vendor != "postgresql" or connection.get_autocommit():
            yield cursor
            return
        cursor.execute("SAVEPOINT flagstaff")
        try:
            yield cursor
        except BaseException:
            cursor.execute("ROLLBACK TO SAVEPOINT flagstaff")
            raise
        finally:
            cursor.execute("RELEASE SAVEPOINT flagstaff")


def in_the_right_thread(work: Callable[[], _T]) -> _T:
    """Do `work` in the thread whose connection has the test's transaction.

    Django runs an async test's loop beside the test's own thread, and its async ORM goes back to
    that thread through asgiref; so does this. Raises NotReadyError where that thread is not to be
    had.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work()
    if connections[conf.database].connection is not None:
        return work()
    executor = (
        getattr(AsyncToSync.executors, "current", None)
        or AsyncToSync.loop_thread_executors.get(loop)
        or SyncToAsync.single_thread_executor
    )
    try:
        return executor.submit(work).result(_PATIENCE)
    # Until Python 3.11 this was not the builtin of the same name.
    except FutureTimeoutError as error:
        raise NotReadyError from error
