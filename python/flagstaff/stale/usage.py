"""Reads when keys were last evaluated, and whether all evaluations were counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connections

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import USAGE_TABLES, fill, own_names, sql
from flagstaff._words.text import Text
from flagstaff._words.times import aware_or_none, local_time
from flagstaff.conf import conf
from flagstaff.stale.signals import LastUse

#: Between the reports of two workers. A pause between two deployments, or a night, is shorter.
MAX_GAP = timedelta(days=1)


@dataclass(frozen=True)
class Coverage:
    """What the usage tables say about the collection of usage."""

    #: The start of the oldest hour with evaluations of any key; None if there is none.
    first_hour: datetime | None
    #: The start of the first worker that reported since the period began; None without a worker.
    first_worker: datetime | None
    #: The last report of any worker.
    last_report: datetime | None
    #: The longest time in the period without a worker between two workers.
    longest_gap: timedelta = timedelta()


def problem_of_coverage(
    coverage: Coverage, *, since: datetime, now: datetime, is_turned_off: bool = False
) -> str:
    """Returns the message why evaluations since a time may be missing, or an empty text."""
    if is_turned_off:
        return Text("the setting USAGE_INTERVAL is 0, so usage is not collected")
    if coverage.first_hour is None or coverage.first_worker is None or coverage.last_report is None:
        return Text("no worker has reported its usage")
    begin = max(coverage.first_hour, coverage.first_worker)
    if begin > since:
        return Text("usage is known only since {date}", date=_date(begin))
    if coverage.longest_gap > MAX_GAP:
        days = coverage.longest_gap.days
        return (
            Text("for 1 day, no worker reported its usage")
            if days == 1
            else Text("for {count} days, no worker reported its usage", count=days)
        )
    if now - coverage.last_report > MAX_GAP:
        return Text(
            "no worker has reported its usage since {date}", date=_date(coverage.last_report)
        )
    return ""


def _date(at: datetime) -> str:
    return local_time(at).date().isoformat()


@dataclass(frozen=True)
class Evaluations:
    """What the usage tables say about some keys."""

    #: By key; keys that were never evaluated or served are absent.
    last: Mapping[str, LastUse] = field(default_factory=dict)
    #: Since when evaluations are counted; None if `problem` says why some may be missing.
    counted_since: datetime | None = None
    problem: str = ""


def evaluations_of(
    keys: Collection[str], *, since: datetime, now: datetime, is_readable: bool = False
) -> Evaluations:
    """Returns the last evaluations of keys. `since` is the time from which all must be counted.

    `is_readable`: the tables of the usage are known to be readable.
    """
    connection = connections[conf.database]
    names = own_names(connection)
    tables = [names[table] for table in USAGE_TABLES]
    reason = None if is_readable else why_unavailable(connection, *tables)
    if reason:
        return Evaluations(problem=Text("usage is not available; {reason}", reason=reason))
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("evaluations_v1"), names), [since, list(keys)])
        rows = cursor.fetchall()
    last = {row[4]: LastUse(*map(aware_or_none, row[5:])) for row in rows if row[4] is not None}
    *times, gap = rows[0][:4]
    first_hour, first_worker, last_report = map(aware_or_none, times)
    coverage = Coverage(first_hour, first_worker, last_report, gap or timedelta())
    is_turned_off = conf.usage_interval == 0
    problem = problem_of_coverage(coverage, since=since, now=now, is_turned_off=is_turned_off)
    begin = max((time for time in (first_hour, first_worker) if time), default=None)
    return Evaluations(last, None if problem else begin, problem)
