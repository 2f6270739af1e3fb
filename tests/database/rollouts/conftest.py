"""Plans of one flag that no user has, as tests need them."""

import pytest

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan
from tests.support.plans import KEY, STEPS, drive_recently, make_flag


@pytest.fixture(autouse=True)
def driver(db: None) -> None:
    """Plans start only while run-jobs runs."""
    drive_recently()


@pytest.fixture
def flag() -> FeatureFlag:
    """An enabled flag for no user."""
    return make_flag()


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    """A plan of 5, 25 and 100 % that has not started."""
    return rollouts.create(KEY, STEPS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    """The same plan at its first step."""
    return rollouts.start(KEY)
