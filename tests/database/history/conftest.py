"""What the tests of the history start with."""

import pytest

from flagstaff.models import Change, FeatureFlag
from tests.support.shop import Shop


@pytest.fixture
def empty_history(transactional_db: None) -> None:
    """Deletes what other tests have left: flushing the tables between tests keeps the history."""
    Change.objects.all().delete()


@pytest.fixture
def flag(empty_history: None, shop: Shop) -> FeatureFlag:
    """The disabled flag new_checkout, whose allowed user is alice; bob is none."""
    shop.user("bob")
    return shop.flag(enabled=False)
