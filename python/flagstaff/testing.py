"""Overrides of flags, values and variants for tests: in memory, for the whole process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isasyncgenfunction, isfunction, isgeneratorfunction
from threading import Lock
from typing import TypeVar, cast
from unittest import TestCase

from django.test import SimpleTestCase
from django.test.utils import TestContextDecorator

from flagstaff._code.project import KnownKeys, declared_keys
from flagstaff._core import set_overrides, start
from flagstaff._declared import declared_value
from flagstaff._engine import lifecycle
from flagstaff._engine.users import bare_key
from flagstaff._types import UserLike
from flagstaff.conf import conf

__all__ = ["live_engine", "override_flag", "override_value", "override_variant"]


_Decorated = TypeVar("_Decorated", bound=Callable[..., object])

_active: list[_Override] = []
_lock = Lock()


class _Override(TestContextDecorator):
    """An override that is active while a test or a block runs.

    The newest override wins. Overrides may end in any order: each removes only itself.
    """

    def __init__(self, key: str, kind: str) -> None:
        super().__init__()
        if not isinstance(key, str):
            raise TypeError(f"a {kind}'s key must be a string, not {key!r}")
        self.key = key
        keys = declared_keys()
        if keys.get(kind) and (
            problem := KnownKeys(keys, conf.allowed_keys).problem_of_key(key, kind)
        ):
            advice = "correct it, declare it, or add it to ALLOWED_KEYS in FLAGSTAFF"
            warnings.warn(f"{problem}; {advice}", stacklevel=3)

    def enable(self) -> None:
        """Activates the override."""
        with _lock:
            _set([*_active, self])

    def disable(self) -> None:
        """Removes the override."""
        with _lock:
            # Its newest use: the same object may be active twice.
            newest_first = _active[::-1]
            newest_first.remove(self)
            _set(newest_first[::-1])

    def decorate_class(self, cls: type) -> type:
        """Overrides for all tests of a TestCase class. Raises TypeError for another class."""
        if not issubclass(cls, TestCase):
            raise TypeError(
                f"{type(self).__name__} decorates functions and TestCase classes, and "
                f"{cls.__qualname__} is a plain class; use @pytest.mark.flagstaff(…)"
            )
        return super().decorate_class(cast("type[SimpleTestCase]", cls))

    def decorate_callable(self, func: _Decorated) -> _Decorated:
        """Overrides while a function runs. Raises TypeError for a generator, which runs later."""
        # A fixture of pytest is an object.
        function = func if isfunction(func) else getattr(func, "__wrapped__", func)
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            name, generator = type(self).__name__, getattr(function, "__qualname__", function)
            raise TypeError(
                f"{name} would end before the generator {generator} runs; "
                f'write "with {name}(…):" around its yield'
            )
        return super().decorate_callable(func)


class override_flag(_Override):  # noqa: N801 (used like a function, as Django's override_settings)
    """Turns a flag on or off for all users while a test or a block runs.

    A context manager and a decorator of functions, methods, TestCase classes and async tests.
    Applies to the whole process, including the threads of a live server. May be nested. Does not
    use the database. Raises TypeError if `enabled` is not a bool. Once code declares flags, warns
    about a key that it does not declare.

        with override_flag("new_checkout", True): ...

    With `user`, a user or a primary key, for this user only: the rows decide for all others.

        with override_flag("new_checkout", True, user=ana): ...
    """

    def __init__(self, key: str, enabled: bool, *, user: UserLike = None) -> None:  # noqa: FBT001
        super().__init__(key, "flag")
        if not isinstance(enabled, bool):
            raise TypeError(f"enabled must be True or False, not {enabled!r}")
        self.enabled = enabled
        self.user = None if user is None else bare_key(user)


class override_value(_Override):  # noqa: N801
    """Sets a value while a test or a block runs. Use it like `override_flag`.

    Converts the value to JSON and back, as the database does. Raises TypeError if that fails, and
    if evaluations of a declared value would not return it.
    """

    def __init__(self, key: str, value: object) -> None:
        super().__init__(key, "value")
        declared = declared_value(key)
        self.text = json.dumps(value if declared is None else declared.to_json(value))
        if declared is not None and (problem := declared.for_workers.misfit(self.text)):
            raise TypeError(f"{key}: {problem}")


class override_variant(_Override):  # noqa: N801
    """Sets the variant of an experiment while a test or a block runs. Use it like `override_flag`.

    With None, every call returns its default. Needs no experiment with this key. Raises TypeError
    if the variant is neither a string nor None.
    """

    def __init__(self, key: str, variant: str | None) -> None:
        super().__init__(key, "experiment")
        if not (variant is None or isinstance(variant, str)):
            raise TypeError(f"a variant must be a string or None, not {variant!r}")
        self.variant = variant


def _set(active: list[_Override]) -> None:
    flags: dict[str, bool] = {}
    flags_of_users: dict[str, dict[str, bool]] = {}
    for override in active:
        if isinstance(override, override_flag):
            if override.user is None:
                flags[override.key] = override.enabled
                flags_of_users.pop(override.key, None)
            else:
                flags_of_users.setdefault(override.key, {})[override.user] = override.enabled
    values = {
        override.key: override.text for override in active if isinstance(override, override_value)
    }
    variants = {
        override.key: override.variant
        for override in active
        if isinstance(override, override_variant)
    }
    set_overrides(flags, values, variants, flags_of_users)
    # Last: a rejected override must not be set again with the next one.
    _active[:] = active


@contextmanager
def live_engine() -> Iterator[None]:
    """Evaluates from memory while the block runs, as a worker does.

    The engine has its own connection and sees committed rows only: use it in tests that commit
    (TransactionTestCase, or `django_db(transaction=True)`). Blocks until the first load, at most
    STARTUP_TIMEOUT. Closes the connection at the end, so that the test database can be dropped.
    """
    lifecycle.close()
    try:
        start(in_memory=True)
        yield
    finally:
        lifecycle.close()
