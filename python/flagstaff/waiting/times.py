"""The time at which an action runs, as a person writes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as fixed_timezone

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flagstaff.exceptions import InvalidArgumentError

_MAX_DELAY = timedelta(days=366)


def future_time(text: str) -> datetime:
    """Parses a time such as "2026-12-01 09:00", in the current time zone without a UTC offset.

    Of a time that the clock shows twice it is the first; one that the clock skips is an hour later.
    Raises InvalidArgumentError.
    """
    try:
        # A newer Python also reads a date without a time.
        at = parse_datetime(text.strip()) if ":" in text else None
    except ValueError:
        at = None
    if at is None:
        raise InvalidArgumentError(
            'expected a time such as "2026-12-01 09:00", not {text}', text=repr(text)
        )
    at = timezone.make_aware(at) if timezone.is_naive(at) else at
    now = datetime.now(fixed_timezone.utc)
    if not now < at <= now + _MAX_DELAY:
        raise InvalidArgumentError(
            "expected a time from now on, within a year, not {text}", text=repr(text)
        )
    return at
