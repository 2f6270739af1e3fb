"""The last day on which cookies of waffle decide, in projects with other time zones."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone as fixed_timezone
from typing import Any

import pytest
from django.utils import timezone

from flagstaff.contrib.waffle.settings import waffle_settings

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("use_tz", [True, False])
def test_last_day_is_found_with_and_without_time_zones(use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    for day, keeps in {"9999-12-31": True, "2000-01-01": False}.items():
        settings.FLAGSTAFF = {"WAFFLE": {"COOKIES_UNTIL": day}}
        assert waffle_settings().keeps_cookies is keeps


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_time_zone_of_a_request_does_not_move_the_last_day(
    zone: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"COOKIES_UNTIL": "2027-01-05"}}
    times = {"2027-01-05T23:59": True, "2027-01-06T00:01": False}
    for text, keeps in times.items():
        now = datetime.fromisoformat(text).replace(tzinfo=fixed_timezone.utc)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        with timezone.override(zone):
            assert waffle_settings().keeps_cookies is keeps
