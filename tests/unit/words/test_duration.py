"""Durations in words."""

from __future__ import annotations

import pytest

from flagstaff._words.times import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "less than 1 s"),
        (59, "59 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (129_600, "1 d 12 h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(750, "12 min"), (59, "59 s"), (0, "0 s")])
def test_duration_in_its_largest_unit_leaves_out_the_rest(seconds: float, text: str) -> None:
    assert duration(seconds, largest_only=True) == text
