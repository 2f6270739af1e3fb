"""The periods of the picture of a release: hours and local days, also when clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from flagstaff.admin.flag.page.release_period import Period, period_of

#: A Wednesday in winter, in all zones of these tests.
NOW = datetime(2026, 11, 25, 14, 30, tzinfo=zones.utc)


def period(
    patch: pytest.MonkeyPatch, name: str, now: datetime = NOW, zone: str = "Europe/Berlin"
) -> Period:
    patch.setattr(timezone, "now", lambda: now)
    with timezone.override(ZoneInfo(zone)):
        return period_of(name)


def labels(one: Period, zone: str = "Europe/Berlin") -> list[str]:
    with timezone.override(ZoneInfo(zone)):
        return [text for _place, text in one.labels()]


@pytest.mark.parametrize(("name", "hours"), [("24h", 24), ("7d", 168)])
def test_period_of_hours_ends_with_the_present_hour(
    monkeypatch: pytest.MonkeyPatch, name: str, hours: int
) -> None:
    found = period(monkeypatch, name)
    assert len(found.starts) == hours
    assert found.end == datetime(2026, 11, 25, 15, tzinfo=zones.utc)
    assert found.end - found.since == timedelta(hours=hours)


@pytest.mark.parametrize("name", ["", "7D", "8d", "\0"])
def test_unknown_period_is_that_of_7_days(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert period(monkeypatch, name).name == "7d"


def test_month_has_30_local_days_that_start_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    found = period(monkeypatch, "30d")
    assert len(found.starts) == 30
    assert found.since == datetime(2026, 10, 26, 23, tzinfo=zones.utc)
    assert found.end == datetime(2026, 11, 25, 23, tzinfo=zones.utc)


def test_day_on_which_the_clock_is_put_back_has_25_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    found = period(monkeypatch, "30d", datetime(2026, 11, 5, 12, tzinfo=zones.utc))
    lengths = {after - start for start, after in zip(found.starts, found.starts[1:], strict=False)}
    assert lengths == {timedelta(hours=24), timedelta(hours=25)}
    assert found.end == datetime(2026, 11, 5, 23, tzinfo=zones.utc)


def test_day_without_a_midnight_starts_with_its_first_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    # In Beirut, the clock goes from 0:00 to 1:00 on 29 March 2026.
    found = period(monkeypatch, "30d", datetime(2026, 4, 5, tzinfo=zones.utc), "Asia/Beirut")
    assert datetime(2026, 3, 28, 22, tzinfo=zones.utc) in found.starts
    assert labels(found, "Asia/Beirut") == ["9 Mar", "16 Mar", "23 Mar", "30 Mar"]


def test_naive_present_is_in_the_time_zone_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 11, 25, 2, 15))  # noqa: DTZ001
    found = period_of("30d")
    assert found.present == datetime(2026, 11, 24, 20, 45, tzinfo=zones.utc)
    assert found.end == datetime(2026, 11, 25, 18, 30, tzinfo=zones.utc)


def test_labels_are_hours_days_of_the_week_or_mondays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert labels(period(monkeypatch, "24h")) == ["18:00", "00:00", "06:00", "12:00"]
    week = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    assert labels(period(monkeypatch, "7d")) == week
    assert labels(period(monkeypatch, "30d")) == ["2 Nov", "9 Nov", "16 Nov", "23 Nov"]
    with translation.override("de"):
        assert labels(period(monkeypatch, "7d"))[-2:] == ["Di", "Mi"]


def test_each_day_has_a_label_where_the_zone_has_half_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = period(monkeypatch, "7d", zone="Asia/Kolkata")
    assert len(labels(found, "Asia/Kolkata")) == 7


def test_time_outside_the_period_has_the_place_of_its_start_or_of_the_present(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = period(monkeypatch, "24h")
    assert found.place(NOW - timedelta(days=3)) == 0
    assert found.place(found.since + timedelta(hours=6)) == 0.25
    assert found.place(NOW + timedelta(minutes=5)) == found.place(NOW) == 23.5 / 24
