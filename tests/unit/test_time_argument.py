"""Times as arguments of `manage.py flags history --since`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime, timedelta, timezone

import pytest
from django.utils.timezone import override

from flagstaff.cli.support import time_argument
from flagstaff.cli.support.time_argument import point_in_time

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
