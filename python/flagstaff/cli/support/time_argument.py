"""A time as an argument: "1h" ago, "10:00", or "2026-11-22T10:00"."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import date, datetime, timedelta
from datetime import timezone as fixed_timezone

from django.core.management.base import CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime, parse_time

_UTC = fixed_timezone.utc
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,6}) ?([smhdw])")
_EXAMPLES = 'such as "30m", "1h", "2d", "10:00" or "2026-11-22T10:00"'


def add_period(parser: CommandParser, things: str) -> None:
    """Adds --since and --until. `things` is what they select, such as "events"."""
    for name, text in (("--since", "from"), ("--until", "before")):
        parser.add_argument(
            name, type=point_in_time, metavar="TIME", help=f"only {things} {text} TIME, {_EXAMPLES}"
        )


def point_in_time(text: str) -> datetime:
    """Parses a time; without a UTC offset, in the current time zone. Raises ArgumentTypeError.

    A time of day is the last one that has passed.
    """
    try:
        time = _ago(text) or _time_of_day(text) or _date_and_time(text)
    except (ValueError, OverflowError):
        time = None
    if time is None:
        raise ArgumentTypeError(f"expected a time {_EXAMPLES}, not {text!r}")
    return time


def _ago(text: str) -> datetime | None:
    parts = _AGO.fullmatch(text.strip())
    if parts is None:
        return None
    # In UTC: the local time of a clock change has a missing hour, or the same hour twice.
    now = _now()
    time = now.astimezone(_UTC) - timedelta(**{_UNITS[parts[2]]: int(parts[1])})
    return time.astimezone(now.tzinfo)


def _time_of_day(text: str) -> datetime | None:
    time = parse_time(text) if ":" in text and len(text) <= len("10:00:00") else None
    if time is None:
        return None
    now = _now()
    today = timezone.localdate(now)
    # In UTC: an hour that the clocks repeat has two times of the same name.
    times = (
        timezone.make_aware(datetime.combine(day, time.replace(fold=fold))).astimezone(_UTC)
        for day in (today, today - timedelta(days=1))
        for fold in (0, 1)
    )
    return max(moment for moment in times if moment <= now).astimezone(now.tzinfo)


def _date_and_time(text: str) -> datetime | None:
    if len(text) == len("2026-11-22"):
        return timezone.make_aware(datetime.combine(date.fromisoformat(text), datetime.min.time()))
    time = parse_datetime(text)
    return time if time is None or timezone.is_aware(time) else timezone.make_aware(time)


def _now() -> datetime:
    # Aware also with USE_TZ = False.
    return datetime.now(timezone.get_current_timezone())
