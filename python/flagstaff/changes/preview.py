"""Computes changes without making them, also of rows as they are expected to be."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ExpectedRows:
    """What previews read in the place of the database: then they make no queries for it."""

    #: A `RowState` by kind and key. A key that is missing has no row.
    rows: dict[Any, Any] = field(default_factory=dict)
    #: The primary keys of the users who exist, of those who would be allowed.
    users: AbstractSet[object] = frozenset()
    #: What uses each segment and flag; None before somebody asks.
    uses: Any = None


_present = ExpectedRows()
_in_memory: ContextVar[ExpectedRows | None] = ContextVar("flagstaff_in_memory", default=None)


@contextmanager
def previewed(expected: ExpectedRows | None = None) -> Iterator[None]:
    """Lets the functions that write validate and return, in the block, without lock or write.

    They take the rows of the database, or those that are `expected`, here or in a block around.
    """
    token = _in_memory.set(expected or _in_memory.get() or _present)
    try:
        yield
    finally:
        _in_memory.reset(token)


def is_preview() -> bool:
    """Returns True in a `previewed` block."""
    return _in_memory.get() is not None


def expectation() -> ExpectedRows | None:
    """Returns what a `previewed` block expects; None if it takes the rows of the database."""
    expected = _in_memory.get()
    return None if expected is _present else expected
