"""How Django connects: the supported databases, aliases of one of them, and raw statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

#: What drivers raise if the database is away. All other errors are those of the project's code.
DATABASE_ERRORS = (InterfaceError, OperationalError)

_POSTGRESQL, _SQLITE = "postgresql", "sqlite"

_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME")

_View = TypeVar("_View", bound=Callable[..., Any])


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection is to PostgreSQL, also with PostGIS or django-tenants.

    Only PostgreSQL has workers with a snapshot, a history, usage, webhooks and plans.
    """
    return bool(connection.vendor == _POSTGRESQL)


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    """Whether flagstaff works on the database of a connection. E049 reports the others."""
    return connection.vendor in (_POSTGRESQL, _SQLITE)


def is_same_database(alias: str, other: str) -> bool:
    """Whether two aliases have the same data, judged by DATABASES. Does not connect."""
    if alias == other:
        return True
    databases = connections.settings
    if alias not in databases or other not in databases:
        return False
    if alias == databases[other]["TEST"]["MIRROR"] or other == databases[alias]["TEST"]["MIRROR"]:
        return True
    return all(databases[alias][name] == databases[other][name] for name in _ADDRESS)


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


def outside_transactions(view: _View) -> _View:
    """Marks `view`, and returns it: no database opens a transaction for it. Opens no connection."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
