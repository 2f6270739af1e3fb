"""Replaces django-waffle: imports its rows, compares the results, and takes its place.

`install()` serves the package `waffle` from the folder `stand_in`. This module is for settings, so
it imports no models and reads no settings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured

__all__ = ["install"]

_FOLDER = Path(__file__).parent / "stand_in"


class _Finder:
    """Finds the package. Python finds its modules through the path of the package."""

    @staticmethod
    def find_spec(
        fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the stand-in for `waffle`, and None for everything else."""
        return PathFinder.find_spec(fullname, [str(_FOLDER)]) if fullname == "waffle" else None


def install() -> None:
    """Lets `import waffle` mean flagstaff, whether or not django-waffle is installed.

    To be called in the settings, like `pymysql.install_as_MySQLdb()`; "waffle" stays in
    INSTALLED_APPS. A second call does nothing. Raises ImproperlyConfigured if django-waffle has
    been imported already.
    """
    if _Finder in sys.meta_path:
        return
    if sys.modules.get("waffle") is not None:
        raise ImproperlyConfigured(
            "django-waffle has been imported already; call flagstaff.contrib.waffle.install() at "
            "the top of the settings, before anything imports waffle"
        )
    sys.meta_path.insert(0, _Finder)
