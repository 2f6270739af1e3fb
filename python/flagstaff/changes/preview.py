"""Writes for a preview, which nothing stays of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from flagstaff.conf import conf


@contextmanager
def rolled_back() -> Iterator[None]:
    """Runs the block in a transaction, or a savepoint, and rolls back what it has written.

    Triggers run. Workers are not notified: PostgreSQL sends notifications at the commit.
    """
    with transaction.atomic(using=conf.database):
        yield
        transaction.set_rollback(True, using=conf.database)
