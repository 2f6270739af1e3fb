"""Errors → exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, DataError, IntegrityError

from flagstaff._tables.sqlstate import (
    NO_PRIVILEGE,
    error_text,
    is_missing_table,
    sqlstate,
)
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
    UnknownExperimentError,
    UnknownFlagError,
    UnknownPlanError,
    UnknownSegmentError,
    UnknownValueError,
)

# UNCONFIRMED: the change is committed, but a known worker has not confirmed it.
# UNVERIFIABLE: the change is committed, but nothing is known about some workers.
FAILED, USAGE, UNCONFIRMED, REFUSED, UNKNOWN, DIFFERS, UNVERIFIABLE = 1, 2, 3, 4, 5, 6, 7

_UNKNOWN = (
    UnknownExperimentError,
    UnknownFlagError,
    UnknownPlanError,
    UnknownSegmentError,
    UnknownValueError,
)
# Insufficient privilege, read-only transaction.
_FORBIDDEN_STATES = {NO_PRIVILEGE, "25006"}


class CancelledError(CommandError):
    """A person has answered no."""


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Turns every expected error into a CommandError with a short message and an exit status."""
    try:
        yield
    except _UNKNOWN as error:
        raise _command_error(str(error), UNKNOWN) from error
    except (ConflictError, ExperimentError, InvalidChangeError, PlanError) as error:
        raise _command_error(f"refused: {error}", REFUSED) from error
    except DocumentError as error:
        head = f"nothing was written; {counted(len(error.problems), 'problem')}:"
        raise _command_error(f"{head}\n{error}", USAGE) from error
    except InvalidArgumentError as error:
        raise _command_error(str(error), USAGE) from error
    except FlagstaffError as error:
        raise _command_error(str(error), FAILED) from error
    except DatabaseError as error:
        raise _database_error(error) from error
    except UnicodeEncodeError as error:
        raise CommandError("the arguments are not valid text", returncode=USAGE) from error


def _command_error(message: str, status: int) -> CommandError:
    # The message may quote what other people have typed, such as control sequences.
    lines = (printable(line) for line in message.split("\n"))
    return CommandError("\n".join(lines), returncode=status)


def _database_error(error: DatabaseError) -> CommandError:
    names_tables = _is_forbidden(error) or is_missing_table(error)
    message = str(error).strip().partition("\n")[0] if names_tables else error_text(error)
    if isinstance(error, IntegrityError | DataError):
        return _command_error(f"the database rejected the change: {message}", REFUSED)
    if _is_forbidden(error):
        return _command_error(f"the database does not allow this: {message}", REFUSED)
    if is_missing_table(error):
        message = f'{message}; run "manage.py migrate"'
    return _command_error(message, FAILED)


def _is_forbidden(error: DatabaseError) -> bool:
    # SQLite has no SQLSTATE.
    return sqlstate(error) in _FORBIDDEN_STATES or "readonly database" in str(error)
