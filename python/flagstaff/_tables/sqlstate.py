"""The SQLSTATE of a database error, and what may be shown of the error."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, IntegrityError, OperationalError

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _

#: A text cannot be converted between UTF-8 and the encoding of the database: untranslatable
#: character, character not in repertoire.
UNDECODABLE = frozenset({"22P05", "22021"})
#: The role has no right to do this.
NO_PRIVILEGE = "42501"
# Undefined table, undefined column.
_MISSING_TABLE = frozenset({"42P01", "42703"})
# The classes of PostgreSQL, by the first two characters of the SQLSTATE.
_CLASSES = {
    "08": Template("sqlstate_08", _("connection exception")),
    "0A": Template("sqlstate_0a", _("feature not supported")),
    "21": Template("sqlstate_21", _("cardinality violation")),
    "22": Template("sqlstate_22", _("data exception, such as text where a number is expected")),
    "23": Template("sqlstate_23", _("integrity constraint violation")),
    "25": Template("sqlstate_25", _("invalid transaction state")),
    "28": Template("sqlstate_28", _("invalid authorization")),
    "40": Template("sqlstate_40", _("transaction rollback")),
    "42": Template("sqlstate_42", _("wrong SQL, an unknown name, or no privilege")),
    "53": Template("sqlstate_53", _("insufficient resources")),
    "54": Template("sqlstate_54", _("program limit exceeded")),
    "55": Template("sqlstate_55", _("object not in the required state")),
    "57": Template("sqlstate_57", _("operator intervention, such as a time limit")),
    "58": Template("sqlstate_58", _("system error")),
    "P0": Template("sqlstate_p0", _("error raised by a function")),
    "XX": Template("sqlstate_xx", _("internal error")),
}
_OTHER = Template("sqlstate_other", _("database error"))
_UNDECODABLE = Template("undecodable_character", _("a character that the database cannot store"))
_WITH_STATE = Template("error_with_sqlstate", "%(error)s (SQLSTATE %(state)s)")


def sqlstate(error: Error) -> str | None:
    """Returns the SQLSTATE of an error, with psycopg and with psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_missing_table(error: Error) -> bool:
    """Returns True if a table or a column does not exist, as before a migration."""
    return sqlstate(error) in _MISSING_TABLE or "no such table" in str(error)


def error_text(error: Error) -> str:
    """Returns what may be shown of an error: a message with its class in words and its SQLSTATE.

    The server's own text may quote rows and values. It is shown with DEBUG, and of errors that name
    only tables and constraints.
    """
    state, text = sqlstate(error), str(error).strip().partition("\n")[0]
    if settings.DEBUG or state == NO_PRIVILEGE or isinstance(error, IntegrityError):
        return text
    if state is None:
        # The driver's own text, such as that of a connection that fails.
        return text if isinstance(error, OperationalError) else type(error).__name__
    if state in UNDECODABLE:
        return _WITH_STATE(error=_UNDECODABLE(), state=state)
    return _WITH_STATE(error=_CLASSES.get(state[:2], _OTHER)(), state=state)
