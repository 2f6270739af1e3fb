"""What went wrong → an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, DataError, IntegrityError

from flagstaff._tables.sqlstate import sqlstate
from flagstaff.cli.cells import plain
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    InvalidChangeError,
    UnknownFlagError,
    UnknownValueError,
)

__all__ = ["DIFFERS", "FAILED", "REFUSED", "UNCONFIRMED", "UNKNOWN", "USAGE", "exit_statuses"]

# Unconfirmed is a change that was made, and that not every worker has shown to have.
FAILED, USAGE, UNCONFIRMED, REFUSED, UNKNOWN, DIFFERS = 1, 2, 3, 4, 5, 6

# PostgreSQL's: insufficient privilege, and a write where only reading is possible.
_FORBIDDEN_STATES = {"42501", "25006"}
_MISSING_TABLE_STATES = {"42P01", "42703"}
# MySQL's: no right to the table, a server or a transaction that only reads.
_FORBIDDEN_NUMBERS = {1142, 1143, 1290, 1792}


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Turn every expected error into one line and its exit status."""
    try:
        yield
    except (UnknownFlagError, UnknownValueError) as error:
        raise _ended(str(error), UNKNOWN) from error
    except (ConflictError, InvalidChangeError) as error:
        raise _ended(f"refused: {error}", REFUSED) from error
    except DocumentError as error:
        many = len(error.problems)
        head = "nothing was written, for " + (
            f"{many:,} things are wrong" if many > 1 else "of this"
        )
        raise _ended(f"{head}:\n{error}", USAGE) from error
    except FlagstaffError as error:
        raise _ended(str(error), FAILED) from error
    except DatabaseError as error:
        raise _of_the_database(error) from error
    except UnicodeEncodeError as error:
        raise CommandError("what was typed is no valid text", returncode=USAGE) from error


def _ended(message: str, status: int) -> CommandError:
    """An error may tell what others have typed, which must not steer the terminal."""
    lines = (plain(line) for line in message.split("\n"))
    return CommandError("\n".join(lines), returncode=status)


def _of_the_database(error: DatabaseError) -> CommandError:
    message = str(error).strip().partition("\n")[0]
    if isinstance(error, IntegrityError | DataError):
        return _ended(f"the database refused it: {message}", REFUSED)
    if _is_forbidden(error):
        message = f"this database user may not do that: {message}"
        return _ended(message, REFUSED)
    if _is_without_tables(error):
        message = f'{message}; "manage.py migrate" makes the tables'
    return _ended(message, FAILED)


def _is_forbidden(error: DatabaseError) -> bool:
    return (
        sqlstate(error) in _FORBIDDEN_STATES
        or error.args[:1] in {(number,) for number in _FORBIDDEN_NUMBERS}
        or "readonly database" in str(error)
    )


def _is_without_tables(error: DatabaseError) -> bool:
    return sqlstate(error) in _MISSING_TABLE_STATES or "no such table" in str(error)
