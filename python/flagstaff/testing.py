"""For tests: answers from memory where the test runner would have them answered directly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flagstaff import engine

__all__ = ["live_engine"]


@contextmanager
def live_engine() -> Iterator[None]:
    """Answer from memory, as a worker does, while the block runs.

    The engine has a connection of its own, so it sees committed rows only: use it where tests
    commit (TransactionTestCase, or `django_db(transaction=True)`). It is gone after the block, so
    the test database can be dropped.
    """
    engine.close()
    engine.begin(in_memory=True)
    try:
        yield
    finally:
        engine.close()
