"""The modules that settings can name and that need an extra of the package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class _Extra(NamedTuple):
    name: str
    #: A package that it installs.
    package: str


_EXTRAS = {
    "flagstaff.experiments.crawlers": _Extra("crawlers", "crawleruseragents"),
    "flagstaff.contrib.toolbar": _Extra("toolbar", "debug_toolbar"),
}


def install_extra(path: str) -> str | None:
    """Returns the hint for a path whose extra is not installed, otherwise None."""
    extra = _EXTRAS.get(path.rpartition(".")[0])
    if extra is None or find_spec(extra.package) is not None:
        return None
    return f'install the extra: pip install "django-flagstaff[{extra.name}]"'
