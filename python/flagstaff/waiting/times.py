"""The time at which an action runs: how a person writes it, and how it is shown."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from datetime import timezone as fixed_timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flagstaff.exceptions import InvalidArgumentError

_UTC = fixed_timezone.utc
_MAX_DELAY = timedelta(days=366)


def future_time(text: str) -> datetime:
    """Parses a time such as "2026-12-01 09:00", or "2026-12-01 09:00 Europe/Vienna".

    Without a time zone and a UTC offset, it is in the current time zone. Of a time that the clock
    shows twice it is the first. Raises InvalidArgumentError.
    """
    written_time, zone_name = text.strip(), ""
    *before, last = text.split() or [""]
    if before and last[0].isalpha():
        written_time, zone_name = " ".join(before), last
    try:
        # A newer Python also reads a date without a time.
        at = parse_datetime(written_time) if ":" in written_time else None
    except ValueError:
        at = None
    if at is None or (zone_name and timezone.is_aware(at)):
        raise InvalidArgumentError(
            'expected a time such as "2026-12-01 09:00" or "2026-12-01 09:00 Europe/Vienna", not '
            "{text}",
            text=repr(text),
        )
    if timezone.is_naive(at):
        zone = _zone(zone_name) if zone_name else timezone.get_current_timezone()
        written, at = at, at.replace(tzinfo=zone, fold=0)
        # The way through UTC moves a time that the clock leaves out.
        if (shown := at.astimezone(_UTC).astimezone(zone).replace(tzinfo=None)) != written:
            raise InvalidArgumentError(
                "the clocks of {zone} go forward and never show {text}; write {shown} or another "
                "time",
                zone=str(zone),
                text=text,
                shown=f"{shown:%H:%M}",
            )
    now = datetime.now(_UTC)
    if not now < at <= now + _MAX_DELAY:
        raise InvalidArgumentError(
            "expected a time from now on, within a year, not {text}", text=repr(text)
        )
    return at


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    # Also for a name that is no path, or is a folder of the names of time zones.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidArgumentError(
            'there is no time zone {name}; write one such as "Europe/Vienna"', name=repr(name)
        ) from error


def is_shown_twice(at: datetime) -> bool:
    """Whether the clock shows this time also an hour later, because clocks go back."""
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()
