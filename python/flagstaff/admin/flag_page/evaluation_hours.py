"""The evaluations of a flag in each hour of the last day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones

from django.http import HttpRequest
from django.utils import timezone

from flagstaff._engine.usage import UsageHour, flag_usage
from flagstaff._words.times import aware
from flagstaff.admin.readable_tables import can_read
from flagstaff.conf import conf

#: The hours of the chart: the present one, and those before it.
HOURS = 24

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Hour:
    """How often all workers evaluated the flag in one hour."""

    start: datetime
    true_count: int = 0
    false_count: int = 0

    @property
    def count(self) -> int:
        return self.true_count + self.false_count


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a flag, as the workers have reported them."""

    #: One for each of the last 24 hours, oldest first.
    hours: tuple[Hour, ...]
    #: Of the last STALE_DAYS days; None if there was none.
    last_evaluated_at: datetime | None
    #: The workers that were lost in these hours.
    lost_workers: int
    #: Whether usage has been counted for less than STALE_DAYS days.
    is_since_begin: bool
    #: Of all flags; see `Usage`.
    since: datetime | None
    until: datetime | None
    interval: float | None

    @property
    def true_count(self) -> int:
        return sum(hour.true_count for hour in self.hours)

    @property
    def count(self) -> int:
        return sum(hour.count for hour in self.hours)


def evaluations_of(request: HttpRequest, key: str) -> Evaluations | None:
    """Returns the evaluations of a flag; None where usage is not counted or cannot be read.

    Makes one query, beside the one that finds the tables for the page.
    """
    if not can_read(request, "usage_table", "worker_table"):
        return None
    present = aware(timezone.now())
    first = _start_of_hour(present) - (HOURS - 1) * _HOUR
    oldest = min(first, present - timedelta(days=conf.stale_days))
    found = flag_usage(key, since=oldest, lost_since=first)
    return Evaluations(
        hours=tuple(_hours(found.hours, first)),
        last_evaluated_at=max((one.last_evaluated_at for one in found.hours), default=None),
        lost_workers=found.lost,
        is_since_begin=found.since is None or aware(found.since) > oldest,
        since=found.since,
        until=found.until,
        interval=found.interval,
    )


def _hours(found: Iterable[UsageHour], first: datetime) -> Iterator[Hour]:
    by_start = {aware(one.start): one for one in found}
    for number in range(HOURS):
        start = first + number * _HOUR
        one = by_start.get(start)
        yield Hour(start, one.true_count, one.false_count) if one else Hour(start)


def _start_of_hour(at: datetime) -> datetime:
    """The start of the hour as the workers count them: full hours of UTC."""
    return at.astimezone(zones.utc).replace(minute=0, second=0, microsecond=0)
