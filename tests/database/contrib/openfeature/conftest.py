"""A client of OpenFeature whose provider evaluates with flagstaff."""

from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient

from flagstaff.contrib.openfeature import FlagstaffProvider


@pytest.fixture
def client() -> Iterator[OpenFeatureClient]:
    api.set_provider_and_wait(FlagstaffProvider())
    yield api.get_client()
    api.shutdown()
