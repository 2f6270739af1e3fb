"""Errors → exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, DataError, IntegrityError

from flagstaff._tables.sqlstate import NO_PRIVILEGE, error_text, is_missing_table, sqlstate
from flagstaff._words.cells import printable
from flagstaff._words.text import counted
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
FAILED, USAGE, UNCONFIRMED, REFUSED, UNKNOWN, DIFFERS, UNVERIFIABLE = 1, 2, 3, 4, 5, 6, 7

_REFUSED = (ConflictError, ExperimentError, InvalidChangeError, PlanError)
# Insufficient privilege, read-only transaction.
_FORBIDDEN_STATES = {NO_PRIVILEGE, "25006"}


class CancelledError(CommandError):
    """A person has answered no."""


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Turns every expected error into a CommandError with a short message and an exit status."""
    try:
        yield
    except FlagstaffError as error:
        raise _error_of(error) from error
    except DatabaseError as error:
        raise _database_error(error) from error
    except UnicodeEncodeError as error:
        raise CommandError("the arguments are not valid text", returncode=USAGE) from error


def _error_of(error: FlagstaffError) -> CommandError:
    if isinstance(error, LookupError):
        return _command_error(str(error), UNKNOWN)
    if isinstance(error, _REFUSED):
        return _command_error(f"refused: {error}", REFUSED)
    if isinstance(error, DocumentError):
        head = f"nothing was written; {counted(len(error.problems), 'problem')}:"
        return _command_error(f"{head}\n{error}", USAGE)
    status = USAGE if isinstance(error, InvalidArgumentError) else FAILED
    return _command_error(str(error), status)


def _command_error(message: str, status: int) -> CommandError:
    # The message may quote what other people have typed, such as control sequences.
    return CommandError("\n".join(map(printable, message.split("\n"))), returncode=status)


def _database_error(error: DatabaseError) -> CommandError:
    # SQLite has no SQLSTATE.
    is_forbidden = sqlstate(error) in _FORBIDDEN_STATES or "readonly database" in str(error)
    is_missing = is_missing_table(error)
    names_tables = is_forbidden or is_missing
    message = str(error).strip().partition("\n")[0] if names_tables else error_text(error)
    if isinstance(error, IntegrityError | DataError):
        return _command_error(f"the database rejected the change: {message}", REFUSED)
    if is_forbidden:
        return _command_error(f"the database does not allow this: {message}", REFUSED)
    advice = '; run "manage.py migrate"' if is_missing else ""
    return _command_error(f"{message}{advice}", FAILED)
