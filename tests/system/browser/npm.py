"""Packages of npm that a browser test needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def required(packages: Callable[[], Path]) -> Path:
    """Returns the directory. Skips the test where it cannot be had, or fails it in CI."""
    try:
        return packages()
    except LookupError as error:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"REQUIRE_BROWSER=1, and {error}")
        pytest.skip(str(error))
