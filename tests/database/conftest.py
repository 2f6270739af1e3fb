"""Users and flags of the tests of pages, groups in another database, and no sites of others."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import User
from django.urls import get_resolver

from flagstaff import ready
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.support.experiments import METRICS
from tests.support.routers import GroupsElsewhere
from tests.support.samples import Sample
from tests.support.shop import GERMAN


@pytest.fixture(autouse=True, scope="session")
def pages_of_the_registered_classes() -> None:
    """Makes the addresses of the admin before a test registers a class of its own.

    They lead to what is registered when they are made: all later pages would be of this class.
    """
    assert get_resolver().url_patterns


@pytest.fixture(autouse=True, scope="module")
def only_the_present_sites() -> None:
    """Removes the sites of earlier tests, of which Django has weak references.

    Where the admin of a site decides about rights by methods of its own, nothing can wait.
    """
    if len(all_sites) > 1:
        gc.collect()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def new_checkout(alice: User) -> FeatureFlag:
    """A flag whose only user is alice."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    return flag


@pytest.fixture
def gateway(db: None) -> KeyValueStore:
    return KeyValueStore.objects.create(key="gateway", value="stripe")


@pytest.fixture
def german(db: None) -> FeatureFlag:
    """A flag for those in Germany."""
    rules = [{"conditions": [GERMAN]}]
    return FeatureFlag.objects.create(key="german", enabled=True, rules=rules)


@pytest.fixture
def engine(transactional_db: None) -> Iterator[None]:
    """Evaluates from memory, as a worker does that has loaded the present rows."""
    with live_engine():
        assert ready(10)
        yield


@pytest.fixture
def groups_elsewhere(settings: Any) -> None:
    """Groups are in another database than the flags, so they cannot be read."""
    settings.DATABASE_ROUTERS = [GroupsElsewhere()]


@pytest.fixture
def metrics(settings: Any) -> None:
    """The metrics of the experiments of the samples."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}


@pytest.fixture
def sample(request: pytest.FixtureRequest) -> Sample:
    """A sample, with the plan or the experiment that it needs."""
    unprepared: Sample = request.param
    return unprepared.prepare()
