"""Fixtures of tests of experiments."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.experiment_pages import METRICS


@pytest.fixture
def metrics(settings: Any) -> None:
    """The metrics of the shop."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}
