"""Times and numbers as people read them, in the language and formats of the project."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format

__all__ = ["aware", "local_number", "local_time", "local_time_text"]


def local_time(at: datetime) -> datetime:
    """Returns the time in the current time zone. With USE_TZ = False it is there already."""
    return timezone.localtime(at) if timezone.is_aware(at) else at


def local_time_text(at: datetime) -> str:
    """Returns the date in the project's format, and the time with seconds and time zone.

    Django's own formats of times have no seconds, which an incident needs.
    """
    local = local_time(at)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i:s T')}".rstrip()


def local_number(number: int) -> str:
    """Returns the number with the thousand separators of the language."""
    return number_format(number, use_l10n=True, force_grouping=True)


def aware(at: datetime) -> datetime:
    """Returns the time with a UTC offset, for other programs."""
    # The database returns naive times in TIME_ZONE, whichever time zone is active.
    return at if timezone.is_aware(at) else at.replace(tzinfo=timezone.get_default_timezone())
