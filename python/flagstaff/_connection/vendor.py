"""The supported databases: PostgreSQL, and SQLite for development and tests."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

#: What drivers raise if the database is away. All other errors are those of the project's code.
DATABASE_ERRORS = (InterfaceError, OperationalError)

_POSTGRESQL, _SQLITE = "postgresql", "sqlite"


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection is to PostgreSQL, also with PostGIS or django-tenants.

    Only PostgreSQL has workers with a snapshot, a history, usage, webhooks and plans.
    """
    return bool(connection.vendor == _POSTGRESQL)


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    """Whether flagstaff works on the database of a connection. E049 reports the others."""
    return connection.vendor in (_POSTGRESQL, _SQLITE)
