"""The time since an event, in the words of a language."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from flagstaff._words.times import ago

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
