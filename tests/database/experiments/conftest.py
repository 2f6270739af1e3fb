"""Fixtures of tests of experiments: one in each state."""

from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.experiments.models import Experiment
from tests.support.experiments import KEY, METRICS, expose_both


@pytest.fixture(autouse=True)
def metrics(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}


@pytest.fixture
def draft(db: None) -> Experiment:
    return experiments.create(KEY, description="Green?", primary="orders", planned_units=4000)


@pytest.fixture
def running(draft: Experiment) -> Experiment:
    return experiments.start(KEY)


@pytest.fixture
def better(running: Experiment) -> Experiment:
    """An experiment whose treatment is better."""
    expose_both(running, (2000, 200), (2000, 320))
    return running


@pytest.fixture
def shipped(better: Experiment) -> Experiment:
    return experiments.ship(KEY, "treatment")
