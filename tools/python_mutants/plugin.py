"""A pytest plugin that records which tests reach which lines, and how long each test takes.

It runs in each process of a suite. COVERAGE_OF is the package, and the results go to RECORD.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

__all__ = ["pytest_runtest_protocol", "pytest_sessionfinish"]

_RECORD = Path(os.environ["RECORD"])
_NAME = os.environ.get("PYTEST_XDIST_WORKER", "main")
_coverage = coverage.Coverage(
    data_file=_RECORD / f"lines.{_NAME}", source=[os.environ["COVERAGE_OF"]], config_file=False
)
_coverage.start()
_seconds: dict[str, float] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Attributes the lines of a test, with its fixtures, to this test."""
    _coverage.switch_context(item.nodeid)
    started = time.perf_counter()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = time.perf_counter() - started
        _coverage.switch_context("")


def pytest_sessionfinish() -> None:
    """Writes what was recorded."""
    _coverage.stop()
    _coverage.save()
    (_RECORD / f"seconds.{_NAME}.json").write_text(json.dumps(_seconds))
