"""The statements that the driver gets, below the cursors that Django counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def counted() -> Iterator[list[object]]:
    """Yields the statements of the block over Django's open connection."""
    raw, statements = connection.connection, list[object]()
    if connection.vendor == "sqlite":
        raw.set_trace_callback(statements.append)
        yield statements
        raw.set_trace_callback(None)
        return
    factory = raw.cursor_factory

    class Counting(factory):  # type: ignore[misc, valid-type]
        def execute(self, query: object, *args: Any, **kwargs: Any) -> Any:
            statements.append(query)
            return super().execute(query, *args, **kwargs)

    raw.cursor_factory = Counting
    yield statements
    raw.cursor_factory = factory
