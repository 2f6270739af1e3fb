"""Names of a package that are imported on first use.

Django imports the packages of apps before models can be imported, the pytest plugin imports
`flagstaff` before the settings are known, and most processes need only some of the names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package. `modules` has the module of each public name.

    It raises AttributeError for other names, as Python does.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 (Python calls it by this name)
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
