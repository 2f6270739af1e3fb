"""The evaluations of a flag in a period, and in the last 24 hours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest

from flagstaff._engine.usage import UsageHour, flag_usage
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.page.release_period import Period, start_of_hour
from flagstaff.conf import conf


@dataclass(frozen=True)
class Count:
    """How often all workers evaluated the flag in some time."""

    true_count: int = 0
    false_count: int = 0

    @property
    def total(self) -> int:
        return self.true_count + self.false_count


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a flag, as the workers have reported them."""

    #: One for each hour or day of the period, oldest first.
    counts: tuple[Count, ...]
    #: That of the whole period.
    sum: Count
    last_24_hours: Count
    #: Of at least the last STALE_DAYS days; None if there was none.
    last_evaluated_at: datetime | None
    #: The workers that were lost in the period.
    lost_workers: int
    #: Whether usage has been counted for less than STALE_DAYS days.
    is_since_begin: bool
    #: Of all flags; see `Usage`.
    since: datetime | None
    until: datetime | None
    interval: float | None


def evaluations_of(request: HttpRequest, key: str, period: Period) -> Evaluations | None:
    """Returns the evaluations of a flag; None where usage is not counted or cannot be read.

    Makes one query, beside the one that finds the tables for the page.
    """
    if not can_read(request, "usage_table", "worker_table"):
        return None
    last_day = start_of_hour(period.present) - timedelta(hours=23)
    stale = period.present - timedelta(days=conf.stale_days)
    found = flag_usage(
        key, since=min(start_of_hour(period.since), last_day, stale), lost_since=period.since
    )
    counts = counts_of(found.hours, period)
    return Evaluations(
        counts=counts,
        sum=_sum(found.hours, period.since),
        last_24_hours=_sum(found.hours, last_day),
        last_evaluated_at=max((one.last_evaluated_at for one in found.hours), default=None),
        lost_workers=found.lost,
        is_since_begin=found.since is None or aware(found.since) > stale,
        since=found.since,
        until=found.until,
        interval=found.interval,
    )


def counts_of(hours: Iterable[UsageHour], period: Period) -> tuple[Count, ...]:
    """Returns the evaluations of each hour or day of the period.

    An hour belongs to the day in which it starts. Hours that a worker counted by a clock that is
    ahead belong to the present.
    """
    in_each: list[list[UsageHour]] = [[] for _ in period.starts]
    for one in hours:
        if aware(one.start) >= period.since:
            in_each[period.index(aware(one.start))].append(one)
    return tuple(_sum(found, period.since) for found in in_each)


def _sum(hours: Iterable[UsageHour], since: datetime) -> Count:
    found = [one for one in hours if aware(one.start) >= since]
    return Count(sum(one.true_count for one in found), sum(one.false_count for one in found))
