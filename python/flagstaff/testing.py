"""For tests: flags and settings set in memory, for the whole process, without a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from django.test.utils import TestContextDecorator

from flagstaff import _core, engine
from flagstaff.values import encoded, is_plain_json, value_field

__all__ = ["live_engine", "override_flag", "override_value"]


class _Override(TestContextDecorator):
    """Something that is set while a test or a block runs.

    What is set later wins, in whichever order the ends come, because each end removes its own.
    """

    _active: list[_Override] = []
    _lock = Lock()

    def __init__(self, key: str, value: Any) -> None:
        super().__init__()
        self.key = key
        self.value = value

    def enable(self) -> None:
        """Set it."""
        self._change(self._active.append)

    def disable(self) -> None:
        """Set it back to what it was."""
        self._change(self._active.remove)

    def _change(self, change: Any) -> None:
        with self._lock:
            change(self)
            flags = {o.key: o.value for o in self._active if isinstance(o, override_flag)}
            values = {o.key: o.value for o in self._active if isinstance(o, override_value)}
            _core.set_overrides(flags, values, not is_plain_json(value_field()))


class override_flag(_Override):  # noqa: N801 (used like a function, as Django's override_settings)
    """Answer a flag with `enabled` for everybody, while a test or a block runs.

    A context manager, and a decorator of functions, methods, TestCase classes and async tests. It
    holds for the whole process, threads of a live server included, may be nested, and writes
    nothing to the database.

        with override_flag("new_checkout", True): ...
    """

    def __init__(self, key: str, enabled: bool) -> None:  # noqa: FBT001
        if not isinstance(enabled, bool):
            raise TypeError(f"a flag is overridden with True or False, not {enabled!r}")
        super().__init__(key, enabled)


class override_value(_Override):  # noqa: N801
    """Answer a setting with `value`, while a test or a block runs; used as `override_flag` is.

    The value passes through JSON, as it would in the database. Raises TypeError where it cannot.
    """

    def __init__(self, key: str, value: Any) -> None:
        super().__init__(key, encoded(value))


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
