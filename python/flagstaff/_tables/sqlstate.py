"""What PostgreSQL calls an error."""

from __future__ import annotations

from django.db import Error

__all__ = ["sqlstate"]


def sqlstate(error: Error) -> str | None:
    """The SQLSTATE, as psycopg or psycopg2 calls it."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
