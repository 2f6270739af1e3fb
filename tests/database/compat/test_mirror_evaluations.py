"""Rows that an evaluation of waffle creates."""

from __future__ import annotations

from typing import Any

import pytest
import waffle
from django.core.cache import cache
from waffle.models import Switch

from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("serves", [True, False])
def test_row_that_an_evaluation_creates_is_not_mirrored(settings: Any, serves: bool) -> None:
    cache.clear()
    settings.WAFFLE_CREATE_MISSING_SWITCHES = True
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": serves}}
    assert waffle.switch_is_active("search") is False
    [created] = Switch.objects.all()
    assert not FeatureFlag.objects.exists()
    created.save()
    assert FeatureFlag.objects.filter(key="search", enabled=False).exists()
