"""Replaces methods of waffle's models, each once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

#: A method of waffle.
Method: TypeAlias = Callable[..., Any]

_MARK = "_flagstaff_replaced"


def replace_method(model: Any, name: str, made: Callable[[Method], Method]) -> None:
    """Puts what a function makes of a method in its place.

    Does nothing if that was done before: a test that overrides INSTALLED_APPS gets all apps ready
    again.
    """
    original = getattr(model, name)
    if hasattr(original, _MARK):
        return
    replacement = wraps(original)(made(original))
    setattr(replacement, _MARK, True)
    setattr(model, name, replacement)
