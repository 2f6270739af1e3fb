"""Usage: how often each key was evaluated, with which result, and which workers were lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from flagstaff._engine.worker_register import LostWorker, lost_workers
from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import fill, own_names, sql
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError

# The hours that one transaction deletes.
_BATCH = 1_000


@dataclass(frozen=True)
class HourlyUsage:
    """How often all workers evaluated a key in one hour."""

    #: The start of the hour.
    hour: datetime
    key: str
    #: Whether there was a flag with this key.
    defined: bool
    true_count: int
    false_count: int
    #: The time of the last evaluation, at most one USAGE_INTERVAL too late.
    last_evaluated_at: datetime


@dataclass(frozen=True)
class Usage:
    """The usage that all workers have reported."""

    hours: tuple[HourlyUsage, ...]
    lost: tuple[LostWorker, ...]
    #: The start of the oldest hour in the table, of any key; None if the table is empty.
    since: datetime | None = None
    #: All evaluations before this time are included, except those of lost workers and of workers
    #: without a first report. None if no worker has reported.
    until: datetime | None = None
    #: The longest time between two reports of a worker, in seconds; None if no worker reports now.
    interval: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Returns the usage as a dict. Hours and lost workers are lists of dicts."""
        return {
            "hours": [asdict(hour) for hour in self.hours],
            "lost": [asdict(worker) for worker in self.lost],
            "since": self.since,
            "until": self.until,
            "interval": self.interval,
        }


def usage(key: str | None = None, *, since: datetime | timedelta | None = None) -> Usage:
    """Returns the usage by hour and key, of all workers; without `key`, of all keys.

    `since` is a time, or how long ago. A worker's evaluations are included after its next flush.
    Makes three queries. Raises NoUsageError on SQLite, and before the
    migration.
    """
    connection, names = usage_tables()
    first = timezone.now() - since if isinstance(since, timedelta) else since
    with connection.cursor() as cursor:
        # Before the hours, which include at least what was reported until then.
        cursor.execute(fill(sql("usage_period_v1"), names))
        period = cursor.fetchone()
        cursor.execute(fill(sql("read_usage_v1"), names), [key, first])
        hours = tuple(HourlyUsage(*row) for row in cursor.fetchall())
    return Usage(hours, lost_workers("usage", since=first), *period)


def prune_usage(older_than: timedelta) -> int:
    """Deletes the hours that ended longer ago than `older_than`, and returns their number.

    Also deletes the workers that were last seen before that. Each thousand rows are a transaction
    of their own. Raises NoUsageError as `usage` does.
    """
    return sum(prune_usage_in_batches(timezone.now() - older_than))


def prune_usage_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the hours that ended before a time, and yields the number of each committed batch.

    A caller may stop between two batches. Raises NoUsageError as `usage` does.
    """
    connection, names = usage_tables()
    statement = fill(sql("prune_usage_v1"), names)
    return delete_in_batches(connection, statement, {"before": before}, _BATCH)


def usage_tables() -> tuple[BaseDatabaseWrapper, dict[str, str]]:
    """Returns the connection that has the tables, and the names of flagstaff's tables.

    Makes one query. Raises NoUsageError on SQLite, before the migration,
    and if row level security can hide rows.
    """
    connection = connections[conf.database]
    names = own_names(connection)
    if reason := why_unavailable(connection, names["usage_table"], names["worker_table"]):
        raise NoUsageError(f'usage is not available in database "{conf.database}"; {reason}')
    return connection, names


@dataclass(frozen=True)
class RecentEvaluations:
    """The evaluations of one key in the last days."""

    count: int
    last_evaluated_at: datetime


@dataclass(frozen=True)
class RecentUsage:
    """What all workers have reported in the last days."""

    days: int
    #: By key; keys that were not evaluated are absent.
    evaluations: Mapping[str, RecentEvaluations]
    #: The hosts of the workers that reported. The counts are not kept by worker.
    hosts: tuple[str, ...]


def recent_usage(keys: Collection[str]) -> RecentUsage | None:
    """Returns the evaluations of keys in the last STALE_DAYS days, or None if usage is not known.

    Makes up to four queries. An error of the database makes the usage unknown, because a role may
    have no right to read it.
    """
    days = conf.stale_days
    try:
        with transaction.atomic(using=conf.database):
            return _read_recent(keys, days)
    except (Error, NoUsageError):
        return None


def _read_recent(keys: Collection[str], days: int) -> RecentUsage | None:
    connection, names = usage_tables()
    since = timezone.now() - timedelta(days=days)
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("reporting_hosts_v1"), names), [since])
        [hosts] = cursor.fetchone()
        cursor.execute(fill(sql("recent_usage_v1"), names), [list(keys), since])
        evaluations = {
            key: RecentEvaluations(count, last) for key, count, last in cursor.fetchall()
        }
    return (
        None
        if hosts is None and not evaluations
        else RecentUsage(days, evaluations, tuple(hosts or ()))
    )


@dataclass(frozen=True)
class UsageHour:
    """How often all workers evaluated the flag in one hour."""

    #: The start of the hour.
    start: datetime
    true_count: int
    false_count: int
    last_evaluated_at: datetime


@dataclass(frozen=True)
class FlagUsage:
    """The usage of a flag that all workers have reported."""

    hours: tuple[UsageHour, ...]
    #: Of all flags, as in `Usage`.
    since: datetime | None
    until: datetime | None
    interval: float | None
    #: The number of workers that were lost.
    lost: int


def flag_usage(key: str, *, since: datetime, lost_since: datetime) -> FlagUsage:
    """Returns the usage since the start of an hour, without evaluations before the flag existed.

    `lost` counts workers that were lost since `lost_since`. One query. The tables must exist,
    and no row may be hidden.
    """
    connection = connections[conf.database]
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("flag_usage_v1"), own_names(connection)), [lost_since, key, since])
        rows = cursor.fetchall()
    hours = tuple(UsageHour(*row[:4]) for row in rows if row[0] is not None)
    return FlagUsage(hours, *rows[0][4:])
