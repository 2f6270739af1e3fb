"""Marks evaluations by waffle: the rows that they create are not written here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_evaluating: ContextVar[bool] = ContextVar("flagstaff_waffle_evaluating", default=False)


@contextmanager
def evaluating() -> Iterator[None]:
    """Suppresses the mirror in the block, for waffle's settings such as CREATE_MISSING_FLAGS."""
    token = _evaluating.set(True)
    try:
        yield
    finally:
        _evaluating.reset(token)


def is_evaluating() -> bool:
    """Whether waffle evaluates now, in this thread or task."""
    return _evaluating.get()
