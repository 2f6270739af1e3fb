"""For tests: flags and settings set in memory, for the whole process, without a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from django.test.utils import TestContextDecorator

from flagstaff import _core
from flagstaff._engine import lifecycle
from flagstaff._tables.decoding import encoded, is_plain_json, value_field

__all__ = ["live_engine", "override_flag", "override_value"]


_active: list[_Override] = []
_lock = Lock()


class _Override(TestContextDecorator):
    """Something that is set while a test or a block runs.

    What is set later wins, in whichever order the ends come, because each end removes its own.
    """

    def __init__(self, key: str, what: str) -> None:
        super().__init__()
        if not isinstance(key, str):
            raise TypeError(f"the key of a {what} is a text, not {key!r}")
        self.key = key

    def enable(self) -> None:
        """Set it."""
        with _lock:
            _set([*_active, self])

    def disable(self) -> None:
        """Set it back to what it was."""
        with _lock:
            # The newest one of those that are this: one object may be in use twice.
            newest_first = _active[::-1]
            newest_first.remove(self)
            _set(newest_first[::-1])


class override_flag(_Override):  # noqa: N801 (used like a function, as Django's override_settings)
    """Answer a flag with `enabled` for everybody, while a test or a block runs.

    A context manager, and a decorator of functions, methods, TestCase classes and async tests. It
    holds for the whole process, threads of a live server included, may be nested, and writes
    nothing to the database.

        with override_flag("new_checkout", True): ...
    """

    def __init__(self, key: str, enabled: bool) -> None:  # noqa: FBT001
        super().__init__(key, "flag")
        if not isinstance(enabled, bool):
            raise TypeError(f"a flag is overridden with True or False, not {enabled!r}")
        self.enabled = enabled


class override_value(_Override):  # noqa: N801
    """Answer a setting with `value`, while a test or a block runs; used as `override_flag` is.

    The value passes through JSON, as it would in the database. Raises TypeError where it cannot.
    """

    def __init__(self, key: str, value: Any) -> None:
        super().__init__(key, "value")
        self.text = encoded(value)
        self.opaque = not is_plain_json(value_field())


def _set(active: list[_Override]) -> None:
    flags = {o.key: o.enabled for o in active if isinstance(o, override_flag)}
    values = [o for o in active if isinstance(o, override_value)]
    texts = {o.key: o.text for o in values}
    _core.set_overrides(flags, texts, any(o.opaque for o in values))
    # Last, so that what was refused is not set again with the next one.
    _active[:] = active


@contextmanager
def live_engine() -> Iterator[None]:
    """Answer from memory, as a worker does, while the block runs.

    The engine has a connection of its own, so it sees committed rows only: use it where tests
    commit (TransactionTestCase, or `django_db(transaction=True)`). It is gone after the block, so
    the test database can be dropped.
    """
    lifecycle.close()
    try:
        lifecycle.begin(in_memory=True)
        yield
    finally:
        lifecycle.close()
