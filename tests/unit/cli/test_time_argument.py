"""Times as arguments of `manage.py flags history --since`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.utils.timezone import override

from flagstaff.cli import options as time_argument
from flagstaff.cli.options import point_in_time

BERLIN = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=BERLIN)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_argument, "_now", lambda: NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("1h", NOW - timedelta(hours=1)),
        ("90 s", NOW - timedelta(seconds=90)),
        ("2d", NOW - timedelta(days=2)),
        ("1w", NOW - timedelta(days=7)),
        ("10:00", datetime(2026, 11, 22, 10, 0, tzinfo=BERLIN)),
        ("10:00:05", datetime(2026, 11, 22, 10, 0, 5, tzinfo=BERLIN)),
        ("12:31", datetime(2026, 11, 21, 12, 31, tzinfo=BERLIN)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=BERLIN)),
        ("2026-11-20T10:00", datetime(2026, 11, 20, 10, 0, tzinfo=BERLIN)),
        ("2026-11-20 10:00:05", datetime(2026, 11, 20, 10, 0, 5, tzinfo=BERLIN)),
        ("2026-11-20T10:00Z", datetime(2026, 11, 20, 10, 0, tzinfo=timezone.utc)),
    ],
)
def test_time_is_parsed_in_the_current_time_zone(text: str, expected: datetime) -> None:
    with override(BERLIN):
        assert point_in_time(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1", "h", "-1h", "1y", "25:00", "2026-13-01", "2026-1-1", "yesterday", "999999w"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match='such as "30m", "1h"'):
        point_in_time(text)


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        # The clocks went forward at 01:00 UTC, from 02:00 to 03:00.
        ("2026-03-29T01:10+00:00", "30m", "2026-03-29T00:40+00:00"),
        ("2026-03-29T01:10+00:00", "1h", "2026-03-29T00:10+00:00"),
        ("2026-03-29T10:00+00:00", "1d", "2026-03-28T10:00+00:00"),
        # They went back at 01:00 UTC, from 03:00 to 02:00.
        ("2026-10-25T01:10+00:00", "30m", "2026-10-25T00:40+00:00"),
        ("2026-10-25T01:30+00:00", "02:10", "2026-10-25T01:10+00:00"),
        ("2026-10-25T01:10+00:00", "02:30", "2026-10-25T00:30+00:00"),
    ],
)
def test_time_near_a_clock_change_is_the_last_one(
    monkeypatch: pytest.MonkeyPatch, now: str, text: str, expected: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    present = datetime.fromisoformat(now).astimezone(berlin)
    monkeypatch.setattr(time_argument, "_now", lambda: present)
    with override(berlin):
        found = point_in_time(text).astimezone(timezone.utc)
    assert found == datetime.fromisoformat(expected)
