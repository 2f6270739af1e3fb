"""The SQLSTATE of a database error, and what may be shown of the error."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, IntegrityError, OperationalError

from flagstaff._text import say

# Such as a NUL character: untranslatable character, character not in repertoire.
_NOT_STORABLE = frozenset({"22P05", "22021"})
#: Two transactions wait for each other. PostgreSQL has ended this one.
DEADLOCK = "40P01"
#: A time limit, or a person, has ended the query.
QUERY_CANCELED = "57014"
#: Another row has the key.
UNIQUE_VIOLATION = "23505"
#: The role has no right to do this.
NO_PRIVILEGE = "42501"
# Undefined table, undefined column.
_MISSING_TABLE = frozenset({"42P01", "42703"})
# The classes of PostgreSQL, by the first two characters of the SQLSTATE.
_CLASSES = {
    "08": say("connection exception"),
    "0A": say("feature not supported"),
    "21": say("cardinality violation"),
    "22": say("data exception, such as text where a number is expected"),
    "23": say("integrity constraint violation"),
    "25": say("invalid transaction state"),
    "28": say("invalid authorization"),
    "40": say("transaction rollback"),
    "42": say("wrong SQL, an unknown name, or no privilege"),
    "53": say("insufficient resources"),
    "54": say("program limit exceeded"),
    "55": say("object not in the required state"),
    "57": say("operator intervention, such as a time limit"),
    "58": say("system error"),
    "P0": say("error raised by a function"),
    "XX": say("internal error"),
}
_OTHER = say("database error")
_WITH_STATE = "{error} (SQLSTATE {state})"


def sqlstate(error: Error) -> str | None:
    """Returns the SQLSTATE of an error, with psycopg and with psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_missing_table(error: Error) -> bool:
    """Returns True if a table or a column does not exist, as before a migration."""
    return sqlstate(error) in _MISSING_TABLE or "no such table" in str(error)


def error_text(error: Error | UnicodeEncodeError) -> str:
    """Returns what may be shown of an error: a message with its class in words and its SQLSTATE.

    The server's own text may quote rows and values. It is shown with DEBUG, and of errors that name
    only tables and constraints.
    """
    if isinstance(error, UnicodeEncodeError):
        return say("a character that the database cannot store")
    state, text = sqlstate(error), str(error).strip().partition("\n")[0]
    if settings.DEBUG or state == NO_PRIVILEGE or isinstance(error, IntegrityError):
        return text
    if state is None:
        # The driver's own text, such as that of a connection that fails.
        return text if isinstance(error, OperationalError) else type(error).__name__
    if state in _NOT_STORABLE:
        return say(
            _WITH_STATE, error=say("a character that the database cannot store"), state=state
        )
    return say(_WITH_STATE, error=say(_CLASSES.get(state[:2], _OTHER)), state=state)
