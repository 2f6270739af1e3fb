"""The periods of the picture of a release, and their places on its axis of time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from flagstaff._words.times import aware, local_time

#: The parameter of the URL.
PARAMETER = "period"

_HOUR = timedelta(hours=1)
_DAY_HOURS, _WEEK_HOURS, _MONTH_DAYS = 24, 168, 30
# The hours between two labels of a day.
_LABEL_HOURS = 6
#: The names of the periods in the URL, and in words.
PERIODS: dict[str, str | Promise] = {
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
}
_DEFAULT = "7d"


@dataclass(frozen=True)
class Period:
    """The time until now, in hours or in days."""

    name: str
    #: The start of each hour, or of each day in the time zone of the page: oldest first, in UTC.
    starts: tuple[datetime, ...]
    #: The end of the last hour or day.
    end: datetime
    present: datetime

    @property
    def is_in_days(self) -> bool:
        """Whether the evaluations are shown by day, and not by hour."""
        return self.name == "30d"

    @property
    def since(self) -> datetime:
        """The start of the period."""
        return self.starts[0]

    @property
    def edges(self) -> tuple[float, ...]:
        """The places of all starts, and of the end."""
        return tuple(map(self._place, (*self.starts, self.end)))

    def place(self, at: datetime) -> float:
        """Returns the place of a time, from 0 to that of the present.

        The clock of the database may be ahead.
        """
        return self._place(min(max(at, self.since), self.present))

    def index(self, at: datetime) -> int:
        """Returns the number of the hour or day of a time that is not before the period."""
        return bisect_right(self.starts, at) - 1

    def labels(self) -> list[tuple[float, str]]:
        """Returns the places with a label: hours, days of the week, or Mondays."""
        found = []
        for start in self.starts:
            local = local_time(start)
            if self.name == "24h":
                text = "" if local.hour % _LABEL_HOURS else date_format(local, "H:i")
            elif self.name == "7d":
                # The first hour of a day, in which a clock may be put forward.
                is_first = local_time(start - _HOUR).date() != local.date()
                text = date_format(local, "D") if is_first else ""
            else:
                text = "" if local.weekday() else date_format(local, pgettext("date format", "j M"))
            if text:
                found.append((self._place(start), text))
        return found

    def _place(self, at: datetime) -> float:
        return (at - self.since) / (self.end - self.since)


def period_of(name: str) -> Period:
    """Returns the period until now that has this name; for another name, that of 7 days."""
    present = aware(timezone.now()).astimezone(zones.utc)
    name = name if name in PERIODS else _DEFAULT
    if name == "30d":
        today = local_time(present).replace(hour=0, minute=0, second=0, microsecond=0)
        # In local time, so that each day starts at midnight.
        days = [today + timedelta(days=number) for number in range(1 - _MONTH_DAYS, 2)]
        *starts, end = (day.replace(fold=0).astimezone(zones.utc) for day in days)
    else:
        count = _DAY_HOURS if name == "24h" else _WEEK_HOURS
        end = start_of_hour(present) + _HOUR
        starts = [end - number * _HOUR for number in range(count, 0, -1)]
    return Period(name, tuple(starts), end, present)


def start_of_hour(at: datetime) -> datetime:
    """Returns the start of the hour as the workers count them: full hours of UTC."""
    return at.astimezone(zones.utc).replace(minute=0, second=0, microsecond=0)
