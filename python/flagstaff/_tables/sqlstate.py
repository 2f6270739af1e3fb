"""The SQLSTATE of a database error."""

from __future__ import annotations

from django.db import Error

__all__ = ["NO_PRIVILEGE", "UNDECODABLE", "sqlstate"]

#: A text cannot be converted between UTF-8 and the encoding of the database: untranslatable
#: character, character not in repertoire.
UNDECODABLE = frozenset({"22P05", "22021"})
#: The role has no right to do this.
NO_PRIVILEGE = "42501"


def sqlstate(error: Error) -> str | None:
    """Returns the SQLSTATE of an error, with psycopg and with psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
