"""Times with seconds and time zone."""

from __future__ import annotations

from datetime import date, datetime

from django.utils import timezone


def full_time(at: datetime) -> str:
    """Returns the date and time, such as "2026-11-20 14:03:05 CET"."""
    return f"{local_time(at):%Y-%m-%d %H:%M:%S %Z}"


def clock_time(at: datetime) -> str:
    """Returns the time of a day that the reader knows, such as "14:03:05 CET"."""
    return f"{local_time(at):%H:%M:%S %Z}"


def local_time(at: datetime) -> datetime:
    """Returns the time in the current time zone, or in TIME_ZONE with USE_TZ = False."""
    return timezone.localtime(at) if timezone.is_aware(at) else aware(at)


def today() -> date:
    """Returns the day in the current time zone, or in TIME_ZONE with USE_TZ = False."""
    return local_time(timezone.now()).date()


def is_of_this_hour(at: datetime | None) -> bool:
    """Returns whether a time is not before the present full hour, for what is due once an hour."""
    hour = aware(timezone.now()).replace(minute=0, second=0, microsecond=0)
    return at is not None and aware(at) >= hour


def aware(at: datetime) -> datetime:
    """Returns the time with a UTC offset, for other programs."""
    # The database returns naive times in TIME_ZONE, whichever time zone is active.
    return at if timezone.is_aware(at) else at.replace(tzinfo=timezone.get_default_timezone())


def aware_or_none(at: datetime | None) -> datetime | None:
    """The same for a time that may be missing."""
    return None if at is None else aware(at)
