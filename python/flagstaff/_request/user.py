"""The user of a request: it is read once, also while the database is away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.functional import SimpleLazyObject

from flagstaff._connection import DATABASE_ERRORS
from flagstaff._core import monotonic
from flagstaff._log import log_each_minute, place_of
from flagstaff._request.context import observed_context
from flagstaff._types import UserLike

# Where a user object keeps that it could not be read: the error, the request, and the time.
_FAILURE = "_flagstaff_failure"
# Seconds until an object is read again that is not that of one request.
_RETRY_AFTER = 5.0
# The transaction status "in error", which has the same number in both drivers.
_IN_ERROR = 3
# The class of SQLSTATEs of a transaction that is to be repeated: a deadlock, for example.
_ROLLED_BACK = "40"
# The error code of SQLite for wrong SQL, such as a table that does not exist.
_SQLITE_ERROR = 1


@contextmanager
def once_per_request(user: object) -> Iterator[None]:
    """A block that reads the user. If the database is away, only the first one waits for it.

    The later ones of the request raise its error. The object keeps it: a request has its own.
    """
    members = getattr(user, "__dict__", {})
    error, context, at = members.get(_FAILURE, (None, None, 0.0))
    is_of_request = context is not None and context is observed_context()
    if error is not None and (is_of_request or monotonic() - at < _RETRY_AFTER):
        raise error
    try:
        yield
    except DATABASE_ERRORS as error:
        if not _must_rise(error):
            members[_FAILURE] = error, observed_context(), monotonic()
        raise


def load_lazy_user(user: Any) -> None:
    """Loads a lazy user. Called by the extension.

    In an event loop, the error of Django also says what to call instead.
    """
    try:
        with once_per_request(user):
            user._setup()  # noqa: SLF001 (Django's)
    except SynchronousOnlyOperation as error:
        advice = (
            "flagstaff reads the user of the request here; in async code, "
            'call "await request.flags.aenabled(…)", "await request.flags.avalue(…)", or pass '
            '"await request.auser()" as the user'
        )
        if sys.version_info >= (3, 11):
            error.add_note(advice)
        else:
            error.args = (f"{error}\n{advice}",)
        raise


def unreadable_user(error: Exception) -> UserLike:
    """Returns a user in place of one that could not be read: an evaluation that needs it fails."""

    def fail() -> object:
        raise error

    return SimpleLazyObject(fail)


def is_database_error(error: BaseException) -> bool:
    """Whether a driver has raised the error because the database is away."""
    return isinstance(error, DATABASE_ERRORS)


def report_database_error(error: Exception) -> bool:
    """Logs that the user or an attribute cannot be read. Called by the extension.

    Returns False if the error has to be raised: it has left a transaction broken, whose end would
    silently be a rollback, or it is an answer to the project's query.
    """
    if _must_rise(error):
        return False
    for connection in connections.all(initialized_only=True):
        _close_if_lost(connection)
    log_each_minute(
        "database",
        f"the database failed while a user or an attribute was read ({place_of(error)}); "
        "evaluations that need it return their default until it is back",
    )
    return True


def _must_rise(error: Exception) -> bool:
    present = connections.all(initialized_only=True)
    return _is_for_the_project(error) or any(map(_has_broken_transaction, present))


def _is_for_the_project(error: Exception) -> bool:
    """Whether a database that works has refused the query: to be repeated, or as wrong SQL."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    is_wrong_for_sqlite = getattr(cause, "sqlite_errorcode", None) == _SQLITE_ERROR
    return str(state).startswith(_ROLLED_BACK) or is_wrong_for_sqlite


def _close_if_lost(connection: BaseDatabaseWrapper) -> None:
    """Closes a connection that was lost: outside of a request, Django would keep it for ever.

    Reads what the driver knows: Django's own methods would connect, query or raise.
    """
    is_lost = getattr(connection.connection, "closed", False)
    if is_lost and connection.autocommit and not connection.in_atomic_block:
        # The event loop closes no connection; its own are those of threads.
        with suppress(SynchronousOnlyOperation):
            connection.close()


def _has_broken_transaction(connection: BaseDatabaseWrapper) -> bool:
    info = getattr(connection.connection, "info", None)
    return connection.needs_rollback or getattr(info, "transaction_status", None) == _IN_ERROR
