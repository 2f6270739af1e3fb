"""Times in messages: local, with seconds and time zone."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

__all__ = ["clock_time", "full_time"]


def full_time(at: datetime) -> str:
    """Returns the date and time, such as "2026-11-20 14:03:05 CET"."""
    return f"{_local(at):%Y-%m-%d %H:%M:%S %Z}"


def clock_time(at: datetime) -> str:
    """Returns the time of a day that the reader knows, such as "14:03:05 CET"."""
    return f"{_local(at):%H:%M:%S %Z}"


def _local(at: datetime) -> datetime:
    # With USE_TZ = False, the database returns naive times in TIME_ZONE.
    if timezone.is_naive(at):
        return at.replace(tzinfo=timezone.get_default_timezone())
    return timezone.localtime(at)
