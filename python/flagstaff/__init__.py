"""Feature flags and values for Django, stored in PostgreSQL and evaluated from memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package whose names are imported on first use.

    Sets its `__dir__`, too. For the packages of flagstaff only. `modules` has the module of each
    name. Raises AttributeError for other names, as Python does.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 (Python calls it by this name)
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # It says that the app is not installed, as soon as that is known.
        if "django.apps" in sys.modules and sys.modules["django.apps"].apps.ready:
            import_module("flagstaff.conf")
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    vars(sys.modules[package])["__dir__"] = lambda: [*modules]
    return __getattr__


# Imported on first use: the pytest plugin is in this package, and must not import Django or the
# extension before the project's settings are known. `__init__.pyi` has their types.
_MODULES = {
    "Flag": "flagstaff._declared",
    "Value": "flagstaff._declared",
    "aclose": "flagstaff._engine.lifecycle",
    "acting_as": "flagstaff._attribution",
    "all_flags": "flagstaff._evaluation",
    "aready": "flagstaff._engine.lifecycle",
    "close": "flagstaff._engine.lifecycle",
    "explain": "flagstaff._evaluation",
    "explain_value": "flagstaff._evaluation",
    "flag_enabled": "flagstaff._core",
    "get_value": "flagstaff._core",
    "read_own_writes": "flagstaff._engine.direct",
    "ready": "flagstaff._engine.lifecycle",
    "refresh": "flagstaff._engine.lifecycle",
    "resolve_flag": "flagstaff._core",
    "resolve_value": "flagstaff._evaluation",
    "snapshot": "flagstaff._core",
    "status": "flagstaff._workers.status",
    "usage": "flagstaff._workers.usage",
    "wait_for_workers": "flagstaff._workers.wait",
}

__all__ = [*_MODULES]  # noqa: PLE0604 (they are names)

__getattr__ = lazy_names(__name__, _MODULES)
