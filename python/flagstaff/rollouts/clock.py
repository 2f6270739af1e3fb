"""The clock of the database, by which all times of plans are set and compared."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import DateTimeField, Func
from django.db.models.sql.compiler import SQLCompiler

from flagstaff._tables.database import db


class ClockTimestamp(Func):
    """The present time of the database. Now() is the time at which a statement starts."""

    template = "CURRENT_TIMESTAMP"
    arity = 0
    output_field = DateTimeField()

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """Returns the SQL for PostgreSQL."""
        return self.as_sql(compiler, connection, template="pg_catalog.clock_timestamp()", **context)


def database_now() -> datetime:
    """Returns the time of PostgreSQL's clock. Makes a query."""
    with db.connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
