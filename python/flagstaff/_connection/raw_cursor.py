"""Statements by the driver's own cursor, which Django does not count as queries of the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.vendor import is_postgresql


def run(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[object] | None = None
) -> list[tuple[Any, ...]]:
    """Executes a statement and returns its rows, if it has any. Raises Django's errors.

    The connection must be open.
    """
    # SQLite's cursor is no context manager.
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@contextmanager
def savepoint(connection: BaseDatabaseWrapper) -> Iterator[list[Exception]]:
    """Undoes what fails within, and adds the error to the list. The caller's transaction goes on.

    Raises only what the next statement of the transaction would raise, such as a lost connection.
    """
    errors: list[Exception] = []
    is_open = is_postgresql(connection) and not connection.get_autocommit()
    if is_open:
        run(connection, "SAVEPOINT flagstaff")
    try:
        yield errors
    except BaseException as error:
        if is_open:
            run(connection, "ROLLBACK TO SAVEPOINT flagstaff")
        if not isinstance(error, Exception):
            raise
        errors.append(error)
    finally:
        if is_open:
            run(connection, "RELEASE SAVEPOINT flagstaff")
