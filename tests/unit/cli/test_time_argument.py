"""Times as arguments of `manage.py flags history --since`."""

from argparse import ArgumentTypeError
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from django.utils.timezone import override

from flagstaff.cli import options as time_argument
from flagstaff.cli.options import point_in_time

UTC = timezone.utc
SUNDAY = "2026-11-22T12:30+01:00"


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        (SUNDAY, "30m", "2026-11-22T12:00+01:00"),
        (SUNDAY, "90 s", "2026-11-22T12:28:30+01:00"),
        (SUNDAY, "2d", "2026-11-20T12:30+01:00"),
        (SUNDAY, "1w", "2026-11-15T12:30+01:00"),
        (SUNDAY, "10:00", "2026-11-22T10:00+01:00"),
        (SUNDAY, "10:00:05", "2026-11-22T10:00:05+01:00"),
        (SUNDAY, "12:31", "2026-11-21T12:31+01:00"),
        (SUNDAY, "2026-11-20", "2026-11-20T00:00+01:00"),
        (SUNDAY, "2026-11-20T10:00", "2026-11-20T10:00+01:00"),
        (SUNDAY, "2026-11-20 10:00:05", "2026-11-20T10:00:05+01:00"),
        (SUNDAY, "2026-11-20T10:00Z", "2026-11-20T10:00+00:00"),
        # The clocks went forward at 01:00 UTC, from 02:00 to 03:00.
        ("2026-03-29T01:10+00:00", "30m", "2026-03-29T00:40+00:00"),
        ("2026-03-29T01:10+00:00", "1h", "2026-03-29T00:10+00:00"),
        ("2026-03-29T10:00+00:00", "1d", "2026-03-28T10:00+00:00"),
        # They went back at 01:00 UTC, from 03:00 to 02:00: of two times of day it is the first.
        ("2026-10-25T01:10+00:00", "30m", "2026-10-25T00:40+00:00"),
        ("2026-10-25T01:30+00:00", "02:10", "2026-10-25T00:10+00:00"),
    ],
)
def test_time_is_parsed_in_the_current_time_zone(
    monkeypatch: pytest.MonkeyPatch, now: str, text: str, expected: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    present = datetime.fromisoformat(now).astimezone(berlin)
    monkeypatch.setattr(time_argument, "_now", lambda: present)
    with override(berlin):
        # Equal local times may be different moments.
        assert point_in_time(text).astimezone(UTC) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "-1h", "1y", "25:00", "2026-13-01", "2026-1-1", "yesterday", "999999w"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match='such as "30m", "1h"'):
        point_in_time(text)
