"""The SQLSTATE of a database error."""

from __future__ import annotations

from django.db import Error

__all__ = ["NO_PRIVILEGE", "UNDECODABLE", "is_missing_table", "sqlstate"]

#: A text cannot be converted between UTF-8 and the encoding of the database: untranslatable
#: character, character not in repertoire.
UNDECODABLE = frozenset({"22P05", "22021"})
#: The role has no right to do this.
NO_PRIVILEGE = "42501"
# Undefined table, undefined column.
_MISSING_TABLE = frozenset({"42P01", "42703"})


def sqlstate(error: Error) -> str | None:
    """Returns the SQLSTATE of an error, with psycopg and with psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_missing_table(error: Error) -> bool:
    """Returns True if a table or a column does not exist, as before a migration."""
    return sqlstate(error) in _MISSING_TABLE or "no such table" in str(error)
