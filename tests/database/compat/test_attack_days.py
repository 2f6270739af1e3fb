"""The last day on which cookies of waffle decide, in projects with other time zones."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone as fixed_timezone
from typing import Any

import pytest
import waffle
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.test import RequestFactory
from django.utils import timezone

from flagstaff.compat.settings import waffle_settings
from tests.support.terminals import document
from tests.support.waffle_rows import flag, take_over

pytestmark = pytest.mark.django_db


def test_cookie_decides_in_a_project_without_time_zones(settings: Any) -> None:
    cache.clear()
    flag(percent="50")
    take_over()
    settings.USE_TZ = False
    kept = {"SERVE": True, "KEEP_COOKIES_UNTIL": "9999-12-31"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": kept}
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    for text in ("True", "False"):
        request.COOKIES["dwf_checkout"] = text
        assert waffle.flag_is_active(request, "checkout") is (text == "True")


def test_import_into_a_project_without_time_zones_names_the_last_day(settings: Any) -> None:
    flag(percent="50")
    settings.USE_TZ = False
    [note] = document("import-from", "waffle", "--dry-run")["notes"]
    assert "KEEP_COOKIES_UNTIL" in note


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_time_zone_of_a_request_does_not_move_the_last_day(
    zone: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"KEEP_COOKIES_UNTIL": "2027-01-05"}}
    times = {"2027-01-05T23:59": True, "2027-01-06T00:01": False}
    for text, keeps in times.items():
        now = datetime.fromisoformat(text).replace(tzinfo=fixed_timezone.utc)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        with timezone.override(zone):
            assert waffle_settings().keeps_cookies is keeps
