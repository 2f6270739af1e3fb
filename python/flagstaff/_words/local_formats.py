"""Times and numbers in the language and formats of the project."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.times import local_time


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


def local_number(number: int) -> str:
    """Returns the number with the thousand separators of the language."""
    return number_format(number, use_l10n=True, force_grouping=True)


def local_days(days: int) -> str:
    """Returns the number of days in the language, such as "1 day"."""
    return ngettext("%(count)s day", "%(count)s days", days) % {"count": days}


def quoted(text: object) -> str:
    """Returns a key or a name in the quotation marks of the language."""
    return _("“%(text)s”") % {"text": text}
