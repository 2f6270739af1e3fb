"""Computes changes without making them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_in_memory: ContextVar[bool] = ContextVar("flagstaff_in_memory", default=False)


@contextmanager
def previewed() -> Iterator[None]:
    """Lets the functions that write validate and return, in the block, without lock or write."""
    token = _in_memory.set(True)
    try:
        yield
    finally:
        _in_memory.reset(token)


def is_preview() -> bool:
    """Returns True in a `previewed` block."""
    return _in_memory.get()
