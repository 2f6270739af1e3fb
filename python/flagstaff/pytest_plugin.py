"""The fixture `flags` and the marks `flag` and `value`, for tests in pytest.

Loaded by pytest before anything else: where this module is, questions are answered directly. It
imports neither Django nor the extension, because the project's settings are not chosen yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

__all__ = ["Flags", "flags"]


class Flags:
    """Sets flags and settings for a test; all is as before when the test ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def on(self, *keys: str) -> None:
        """Turn flags on for everybody."""
        for key in keys:
            self.set(key, enabled=True)

    def off(self, *keys: str) -> None:
        """Turn flags off for everybody."""
        for key in keys:
            self.set(key, enabled=False)

    def set(self, key: str, *, enabled: bool) -> None:
        """Turn a flag on or off for everybody."""
        from flagstaff.testing import override_flag  # noqa: PLC0415 (not before the settings)

        self._stack.enter_context(override_flag(key, enabled))

    def value(self, key: str, value: Any) -> None:
        """Set a setting."""
        from flagstaff.testing import override_value  # noqa: PLC0415

        self._stack.enter_context(override_value(key, value))


@pytest.fixture
def flags() -> Iterator[Flags]:
    """Set flags and settings in memory: `flags.on("new_checkout")`, `flags.value("page", 20)`."""
    with ExitStack() as stack:
        yield Flags(stack)


@pytest.fixture(autouse=True)
def _flagstaff_marks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Do as the marks say, the nearest to the test last, so that it wins."""
    with ExitStack() as stack:
        flags = Flags(stack)
        for mark in reversed(list(request.node.iter_markers("flag"))):
            _flag(flags, *mark.args, **mark.kwargs)
        for mark in reversed(list(request.node.iter_markers("value"))):
            flags.value(*mark.args, **mark.kwargs)
        yield


def _flag(flags: Flags, key: str, enabled: bool = True) -> None:  # noqa: FBT001, FBT002
    flags.set(key, enabled=enabled)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks, for `--strict-markers`."""
    config.addinivalue_line("markers", "flag(key, enabled=True): set a flag for the test")
    config.addinivalue_line("markers", "value(key, value): set a setting for the test")
