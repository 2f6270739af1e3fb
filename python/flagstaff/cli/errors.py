"""Errors → exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, DataError, IntegrityError

from flagstaff._tables.database import NO_PRIVILEGE, error_text, is_missing_table, sqlstate
from flagstaff._text import counted
from flagstaff._text.times import printable
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    ExperimentError,
    FlagstaffError,
    InvalidArgumentError,
    InvalidChangeError,
    PlanError,
)

# UNCONFIRMED: the change is committed, but a known worker has not confirmed it.
# UNVERIFIABLE: the change is committed, but nothing is known about some workers.
# GIVEN_UP: run-jobs has ended something as expired or failed.
FAILED, USAGE, UNCONFIRMED, REFUSED, UNKNOWN, DIFFERS, UNVERIFIABLE, GIVEN_UP = range(1, 9)

_REFUSED = (ConflictError, ExperimentError, InvalidChangeError, PlanError)
# Insufficient privilege, read-only transaction.
_FORBIDDEN_STATES = {NO_PRIVILEGE, "25006"}


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Turns every expected error into a CommandError with a short message and an exit status."""
    try:
        yield
    except (FlagstaffError, DatabaseError, UnicodeEncodeError) as error:
        message, status = _described(error)
        # It may quote what other people have typed, such as control sequences.
        lines = map(printable, message.split("\n"))
        raise CommandError("\n".join(lines), returncode=status) from error


def _described(error: Exception) -> tuple[str, int]:
    """Returns the message and the exit status."""
    if isinstance(error, DatabaseError) and not isinstance(error, FlagstaffError):
        return _described_database_error(error)
    if isinstance(error, LookupError):
        return str(error), UNKNOWN
    if isinstance(error, _REFUSED):
        return f"refused: {error}", REFUSED
    if isinstance(error, DocumentError):
        head = f"nothing was written; {counted(len(error.problems), 'problem')}:"
        return f"{head}\n{error}", USAGE
    if isinstance(error, UnicodeEncodeError):
        return "the arguments are not valid text", USAGE
    return str(error), USAGE if isinstance(error, InvalidArgumentError) else FAILED


def _described_database_error(error: DatabaseError) -> tuple[str, int]:
    # SQLite has no SQLSTATE.
    is_forbidden = sqlstate(error) in _FORBIDDEN_STATES or "readonly database" in str(error)
    is_missing = is_missing_table(error)
    names_tables = is_forbidden or is_missing
    message = str(error).strip().partition("\n")[0] if names_tables else error_text(error)
    if isinstance(error, IntegrityError | DataError):
        return f"the database rejected the change: {message}", REFUSED
    if is_forbidden:
        return f"the database does not allow this: {message}", REFUSED
    return f'{message}; run "manage.py migrate"' if is_missing else message, FAILED
