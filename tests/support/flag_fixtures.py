"""Rows that tests of versions and of the history change: a flag with an allowed user, a value."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flagstaff.models import FeatureFlag, KeyValueStore


@pytest.fixture
def flag(alice: User) -> FeatureFlag:
    """A flag with alice as an allowed user."""
    flag = FeatureFlag.objects.create(key="new_checkout", rollout_percent=25)
    flag.allowed_users.add(alice)
    return flag


@pytest.fixture
def gateway() -> KeyValueStore:
    return KeyValueStore.objects.create(key="gateway", value="stripe")
