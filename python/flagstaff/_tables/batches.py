"""Deletes many rows in small transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


def delete_in_batches(
    connection: BaseDatabaseWrapper, statement: str, parameters: Mapping[str, Any], batch: int
) -> Iterator[int]:
    """Runs a statement that deletes some rows until none is left to delete.

    Besides `parameters`, it gets `batch`, the number of rows, and `after`, at first 0. It returns
    how many rows it has deleted, and the `after` of the next batch; NULL after the last one. Yields
    the number of each batch, which is a transaction of its own and committed then.
    """
    after: int | None = 0
    while after is not None:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(statement, {**parameters, "after": after, "batch": batch})
            deleted, after = cursor.fetchone()
        yield deleted
