"""Forces flags off in the process of a test, as FLAGSTAFF_FORCE_OFF does at its start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flagstaff._engine.forced_off import force_off


@contextmanager
def forced_off(keys: Iterable[str]) -> Iterator[None]:
    """Forces the flags with these keys off while the block runs."""
    force_off(keys)
    try:
        yield
    finally:
        force_off(())
