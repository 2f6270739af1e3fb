"""Statements by the driver's own cursor, which Django does not count as queries of the project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


def run(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[object] | None = None
) -> list[tuple[Any, ...]]:
    """Executes a statement and returns its rows, if it has any. Raises Django's errors.

    The connection must be open.
    """
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
