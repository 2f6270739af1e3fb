"""A pytest plugin: the fixture `flagstaff_flags` and the mark `flagstaff`.

If this module is loaded, evaluations query the database directly. It is imported before the
project's settings are known, so it imports neither Django nor the extension.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flagstaff._types import UserLike

__all__ = ["Flags", "flagstaff_flags"]

_MARK = 'flagstaff(flag="new_checkout", value={"page_size": 20}, variant={"button": "green"})'


class Flags:
    """Overrides flags, values and variants until the end of a test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def on(self, *keys: str, user: UserLike = None) -> None:
        """Turns flags on for all users, or for one."""
        for key in keys:
            self.set(key, enabled=True, user=user)

    def off(self, *keys: str, user: UserLike = None) -> None:
        """Turns flags off for all users, or for one."""
        for key in keys:
            self.set(key, enabled=False, user=user)

    def set(self, key: str, *, enabled: bool, user: UserLike = None) -> None:
        """Turns a flag on or off for all users, or for one."""
        from flagstaff.testing import override_flag  # noqa: PLC0415 (needs settings)

        self._stack.enter_context(override_flag(key, enabled, user=user))

    def value(self, key: str, value: object) -> None:
        """Sets a value."""
        from flagstaff.testing import override_value  # noqa: PLC0415

        self._stack.enter_context(override_value(key, value))

    def variant(self, key: str, variant: str | None) -> None:
        """Gives everyone a variant of an experiment, or with None the default of each call."""
        from flagstaff.testing import override_variant  # noqa: PLC0415

        self._stack.enter_context(override_variant(key, variant))


@pytest.fixture
def flagstaff_flags() -> Iterator[Flags]:
    """Overrides in memory: `flagstaff_flags.on("new_checkout")`, `.value("page_size", 20)`."""
    with ExitStack() as stack:
        yield Flags(stack)


@pytest.fixture(autouse=True)
def _flagstaff_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    """Applies the marks. The mark closest to the test comes last and wins."""
    marks = reversed(list(request.node.iter_markers("flagstaff")))
    with ExitStack() as stack:
        flags = Flags(stack)
        try:
            for mark in marks:
                _apply(flags, *mark.args, **mark.kwargs)
        except TypeError as error:
            message = f"flagstaff's pytest plugin cannot apply the mark flagstaff: {error}"
            pytest.fail(f"{message}; write @pytest.mark.{_MARK}", pytrace=False)
        yield


def _apply(
    flags: Flags,
    /,
    *positional: object,
    flag: str | Collection[str] | Mapping[str, bool] = (),
    value: Mapping[str, object] | None = None,
    variant: Mapping[str, str | None] | None = None,
    **others: object,
) -> None:
    if positional or others or not (flag or value or variant):
        raise TypeError("it needs flag=, value= or variant=, and accepts nothing else")
    if not isinstance(flag, Mapping):
        keys = (flag,) if isinstance(flag, str) else flag
        if not isinstance(keys, list | tuple | set):
            raise TypeError(f"flag must be a key, a list or a dict by key, not {flag!r}")
        flag = dict.fromkeys(keys, True)
    for name, argument in {"value": value, "variant": variant}.items():
        if not isinstance(argument, Mapping | None):
            raise TypeError(f"{name} must be a dict by key, not {argument!r}")
    for key, enabled in flag.items():
        flags.set(key, enabled=enabled)
    for key, new in (value or {}).items():
        flags.value(key, new)
    for key, new_variant in (variant or {}).items():
        flags.variant(key, new_variant)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark, for `--strict-markers`."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}: override flags, values and variants for the test; several flags as a list, or "
        "with False as a dict",
    )
