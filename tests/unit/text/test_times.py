"""Durations and the time since an event, in words."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from flagstaff._text.times import ago, duration

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
AGES = {
    "just now": timedelta(seconds=59),
    "1 min ago": timedelta(seconds=60),
    "59 min ago": timedelta(minutes=59, seconds=59),
    "23 h ago": timedelta(hours=23),
    "1 day ago": timedelta(days=1),
    "6 days ago": timedelta(days=6),
    "4 weeks ago": timedelta(days=29),
    "2 months ago": timedelta(days=60),
    "1 year ago": timedelta(days=400),
}


@pytest.mark.parametrize(("text", "age"), AGES.items())
def test_time_is_in_its_largest_unit(text: str, age: timedelta) -> None:
    assert ago(NOW - age, NOW) == text


def test_time_of_a_clock_that_is_ahead_is_now() -> None:
    assert ago(NOW + timedelta(minutes=2), NOW) == "just now"


@pytest.mark.parametrize(
    ("seconds", "text", "largest"),
    [
        (0, "0 s", "0 s"),
        (0.4, "less than 1 s", "less than 1 s"),
        (59, "59 s", "59 s"),
        (59.6, "1 min", "1 min"),
        (750, "12 min 30 s", "12 min"),
        (3600, "1 h", "1 h"),
        (3661, "1 h 1 min", "1 h"),
        (129_600, "1 d 12 h", "1 d"),
    ],
)
def test_duration_has_its_two_largest_units_or_one(seconds: float, text: str, largest: str) -> None:
    assert duration(seconds) == text
    assert duration(seconds, largest_only=True) == largest
