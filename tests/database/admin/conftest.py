"""Rows and settings that many tests of the admin begin with."""

from typing import Any

import pytest
from django.test import Client

from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import staff


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flag was evaluated: other tests of the process evaluate flags with the same keys."""
    monkeypatch.setattr("flagstaff.actions.flag_notes.recent_usage", lambda _keys: None)


@pytest.fixture
def read_only(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}


@pytest.fixture
def reason_required(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}


@pytest.fixture
def viewer() -> Client:
    """May only see flags."""
    return staff("view_featureflag")


@pytest.fixture
def enterprise() -> Segment:
    """A segment that rules name."""
    country = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}
    return Segment.objects.create(key="enterprise", conditions=[country])
