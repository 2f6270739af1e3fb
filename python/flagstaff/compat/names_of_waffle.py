"""Looks names up in waffle while it is installed, and in flagstaff's replacement afterwards."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.apps import apps


def names_of(module: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of what stands for a module of waffle, such as "decorators".

    Each access looks the name up, so that it finds what a test has patched in waffle.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 (Python calls it by this name)
        # Python looks for __path__ and others, also before the apps are loaded.
        if name.startswith("__"):
            raise AttributeError(name)
        package = "waffle" if apps.is_installed("waffle") else "flagstaff.compat.without_waffle"
        return getattr(import_module(f"{package}.{module}".rstrip(".")), name)

    return __getattr__
