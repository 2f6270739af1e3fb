"""Fixtures of tests of rollout plans."""

from __future__ import annotations

import pytest

from flagstaff.models import FeatureFlag
from tests.support.rollouts import drive_recently, make_flag


@pytest.fixture(autouse=True)
def driver(db: None) -> None:
    """Plans start only while run-jobs runs."""
    drive_recently()


@pytest.fixture
def flag() -> FeatureFlag:
    """An enabled flag for no user."""
    return make_flag()
