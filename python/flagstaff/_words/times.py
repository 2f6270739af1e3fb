"""Times and durations, in English and in the language and formats of the project."""

from __future__ import annotations

from datetime import date, datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext, ngettext_lazy

from flagstaff._words.text import Text, joined, marked

SECONDS = marked("{count} s")
_UNITS = (
    (86_400, marked("{count} d")),
    (3_600, marked("{count} h")),
    (60, marked("{count} min")),
    (1, SECONDS),
)
# Whole phrases: in German, "2 Tage" becomes "vor 2 Tagen".
_AGO = (
    (365 * 86_400, ngettext_lazy("%(count)s year ago", "%(count)s years ago", "count")),
    (30 * 86_400, ngettext_lazy("%(count)s month ago", "%(count)s months ago", "count")),
    (7 * 86_400, ngettext_lazy("%(count)s week ago", "%(count)s weeks ago", "count")),
    (86_400, ngettext_lazy("%(count)s day ago", "%(count)s days ago", "count")),
    (3_600, ngettext_lazy("%(count)s h ago", "%(count)s h ago", "count")),
    (60, ngettext_lazy("%(count)s min ago", "%(count)s min ago", "count")),
)


def full_time(at: datetime) -> str:
    """Returns the date and time, such as "2026-11-20 14:03:05 CET"."""
    return f"{local_time(at):%Y-%m-%d %H:%M:%S %Z}"


def local_time_text(at: datetime) -> str:
    """Returns the date in the project's format, and the time with seconds and time zone.

    Django's own formats of times have no seconds, which an incident needs.
    """
    local = local_time(at)
    date, zone = date_format(local, "DATE_FORMAT"), date_format(local, "T")
    return f"{date}, {local:%H:%M:%S} {zone}".rstrip()


def local_clock_text(at: datetime) -> str:
    """Returns the time of the day with seconds, and the date before it if it is not today's."""
    local = local_time(at)
    clock = f"{local:%H:%M:%S}"
    if local.date() == local_time(timezone.now()).date():
        return clock
    return f"{date_format(local, 'DATE_FORMAT')}, {clock}"


def local_days(days: int) -> str:
    """Returns the number of days in the language, such as "1 day"."""
    return ngettext("%(count)s day", "%(count)s days", days) % {"count": days}


def ago(time: datetime, now: datetime | None = None) -> str:
    """Returns the time since then in its largest unit: "4 min ago", "vor 4 min"."""
    seconds = (aware(now or timezone.now()) - aware(time)).total_seconds()
    for size, text in _AGO:
        if seconds >= size:
            count = int(seconds // size)
            return str(text % {"count": count})
    return gettext("just now")


def duration(seconds: float, *, largest_only: bool = False) -> Text:
    """Returns a duration in its two largest units, or in its largest one. The rest is left out.

    >>> duration(59), duration(3_660), duration(129_600)
    ('59 s', '1 h 1 min', '1 d 12 h')
    >>> duration(750, largest_only=True)
    '12 min'
    """
    if 0 < seconds < 1:
        return Text("less than 1 s")
    remaining, parts = round(seconds), []
    for size, unit in _UNITS:
        count, remaining = divmod(remaining, size)
        if count:
            parts.append(Text(unit, count=count))
    if not parts:
        return Text(SECONDS, count=0)
    return parts[0] if largest_only else joined(parts[:2], " ")


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
