"""The time at which an action runs, as a person writes it."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.utils.timezone import now, override

from flagstaff._text.times import future_time, is_shown_twice
from flagstaff.exceptions import InvalidArgumentError

BERLIN = "Europe/Berlin"


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    with override(BERLIN):
        yield


def last_sunday(month: int) -> date:
    """The next last Sunday of a month with 31 days, on which the clocks change."""
    today = now().date()
    for year in (today.year, today.year + 1):
        day = date(year, month, 31)
        day -= timedelta(days=(day.weekday() + 1) % 7)
        if day > today:
            break
    return day


def test_time_without_an_offset_is_in_the_current_time_zone() -> None:
    day = now().date() + timedelta(days=3)
    local = future_time(f"{day} 09:00")
    assert f"{local:%H:%M}" == "09:00"
    assert local.utcoffset() in {timedelta(hours=1), timedelta(hours=2)}
    assert future_time(f"{day}T09:00Z") == datetime(
        day.year, day.month, day.day, 9, tzinfo=timezone.utc
    )


def test_time_with_a_zone_is_in_this_zone() -> None:
    day = now().date() + timedelta(days=3)
    at = future_time(f"{day} 09:00 Pacific/Auckland")
    assert at == datetime(day.year, day.month, day.day, 9, tzinfo=ZoneInfo("Pacific/Auckland"))


@pytest.mark.parametrize("zone", ["Europe/Wien", "Europe", "a\0b"])
def test_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"there is no time zone .*; write one such as"):
        future_time(f"{now() + timedelta(days=3):%Y-%m-%d} 09:00 {zone}")


def test_time_that_the_clock_leaves_out_is_refused() -> None:
    day = last_sunday(3)
    with pytest.raises(InvalidArgumentError, match=r"never show .* 02:30; write 03:30"):
        future_time(f"{day} 02:30")
    assert not is_shown_twice(future_time(f"{day} 03:30"))


def test_time_that_the_clock_shows_twice_is_the_first() -> None:
    day = last_sunday(10)
    at = future_time(f"{day} 02:30")
    assert is_shown_twice(at)
    assert at.utcoffset() == timedelta(hours=2)
    assert not is_shown_twice(future_time(f"{day} 01:30"))


@pytest.mark.parametrize(
    "text", ["tomorrow", "2026-13-01 09:00", "", "09:00", "2026-12-01", "2026-12-01 09:00Z UTC"]
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a time such as"):
        future_time(text)


@pytest.mark.parametrize("text", ["0001-01-01 00:00 Asia/Tokyo", "9999-12-31 23:59 Etc/GMT+12"])
def test_time_that_utc_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="from now on, within a year"):
        future_time(text)


@pytest.mark.parametrize("days", [-1, 367])
def test_time_that_is_past_or_too_far_away_is_refused(days: int) -> None:
    with pytest.raises(InvalidArgumentError, match="from now on, within a year"):
        future_time(f"{now() + timedelta(days=days):%Y-%m-%d %H:%M}")
