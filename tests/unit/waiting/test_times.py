"""The time at which an action runs, as a person writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import pytest
from django.utils.timezone import now, override

from flagstaff.exceptions import InvalidArgumentError
from flagstaff.waiting.times import future_time

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


def test_time_that_the_clock_skips_is_an_hour_later() -> None:
    day = last_sunday(3)
    skipped, shown = future_time(f"{day} 02:30"), future_time(f"{day} 03:30")
    # Times of one zone are compared by what the clock shows.
    assert skipped.timestamp() == shown.timestamp()


def test_time_that_the_clock_shows_twice_is_the_first() -> None:
    at = future_time(f"{last_sunday(10)} 02:30")
    assert at.utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01 09:00", "", "09:00", "2026-12-01"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a time such as"):
        future_time(text)


@pytest.mark.parametrize("days", [-1, 367])
def test_time_that_is_past_or_too_far_away_is_refused(days: int) -> None:
    with pytest.raises(InvalidArgumentError, match="from now on, within a year"):
        future_time(f"{now() + timedelta(days=days):%Y-%m-%d %H:%M}")
