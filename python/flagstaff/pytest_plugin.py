"""A pytest plugin: the fixture `flags`, the marks `flag`, `value` and `variant`.

If this module is loaded, evaluations query the database directly. It is imported before the
project's settings are known, so it imports neither Django nor the extension.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

__all__ = ["Flags", "flags"]


class Flags:
    """Overrides flags, values and variants until the end of a test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def on(self, *keys: str) -> None:
        """Turns flags on for all users."""
        for key in keys:
            self.set(key, enabled=True)

    def off(self, *keys: str) -> None:
        """Turns flags off for all users."""
        for key in keys:
            self.set(key, enabled=False)

    def set(self, key: str, *, enabled: bool) -> None:
        """Turns a flag on or off for all users."""
        from flagstaff.testing import override_flag  # noqa: PLC0415 (needs settings)

        self._stack.enter_context(override_flag(key, enabled))

    def value(self, key: str, value: object) -> None:
        """Sets a value."""
        from flagstaff.testing import override_value  # noqa: PLC0415

        self._stack.enter_context(override_value(key, value))

    def variant(self, key: str, variant: str | None) -> None:
        """Gives everyone a variant of an experiment, or with None the default of each call."""
        from flagstaff.testing import override_variant  # noqa: PLC0415

        self._stack.enter_context(override_variant(key, variant))


@pytest.fixture
def flags() -> Iterator[Flags]:
    """Overrides in memory: `flags.on("new_checkout")`, `flags.value("page_size", 20)`."""
    with ExitStack() as stack:
        yield Flags(stack)


@pytest.fixture(autouse=True)
def _flagstaff_marks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Applies the marks. The mark closest to the test comes last and wins."""
    with ExitStack() as stack:
        flags = Flags(stack)
        for mark in reversed(list(request.node.iter_markers("flag"))):
            _set_flag(flags, *mark.args, **mark.kwargs)
        for mark in reversed(list(request.node.iter_markers("value"))):
            flags.value(*mark.args, **mark.kwargs)
        for mark in reversed(list(request.node.iter_markers("variant"))):
            flags.variant(*mark.args, **mark.kwargs)
        yield


def _set_flag(flags: Flags, key: str, enabled: bool = True) -> None:  # noqa: FBT001, FBT002
    flags.set(key, enabled=enabled)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marks, for `--strict-markers`."""
    config.addinivalue_line("markers", "flag(key, enabled=True): set a flag for the test")
    config.addinivalue_line("markers", "value(key, value): set a value for the test")
    config.addinivalue_line("markers", "variant(key, variant): set a variant for the test")
