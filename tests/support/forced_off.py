"""Forces flags off and on in the process of a test, as the environment does at its start."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flagstaff._engine.forced_off import force_off
from flagstaff._engine.forced_on import force_on


@contextmanager
def forced_off(keys: Iterable[str]) -> Iterator[None]:
    """Forces the flags with these keys off while the block runs."""
    force_off(keys)
    try:
        yield
    finally:
        force_off(())


@contextmanager
def forced_on(keys: Iterable[str]) -> Iterator[None]:
    """Forces the flags with these keys on while the block runs."""
    force_on(keys)
    try:
        yield
    finally:
        force_on(())
