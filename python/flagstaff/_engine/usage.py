"""Usage: how often each key was evaluated, when it was served in bulk, and lost workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from flagstaff._engine.reports import LostWorker, lost_workers
from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import USAGE_TABLES, fill, own_names, sql
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError

# The hours that one transaction deletes.
_BATCH = 1_000
_DAY = timedelta(days=1)


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
class BulkUsage:
    """The times at which workers last served a flag with many others, which is not counted.

    They can be an hour too early. They are None if there was no such call since `since`.
    """

    key: str
    #: By `all_flags()`: the code may have used the result, or not.
    served_in_bulk_at: datetime | None = None
    #: By `all_flags(client_side=True)`, as the view for browsers.
    served_to_browsers_at: datetime | None = None


@dataclass(frozen=True)
class ValueUsage:
    """How often one result of a value with rules was returned."""

    key: str
    #: The number of the rule that gave it then, 0 for the value itself.
    rule: int
    count: int
    #: The start of the last hour in which it was returned.
    last_hour: datetime


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
    #: The flags that were served in bulk, by key.
    bulk: tuple[BulkUsage, ...] = ()
    #: The results of values with rules. Values without rules are not counted.
    values: tuple[ValueUsage, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Returns the usage as a dict. Hours, lost workers, bulk usage and values are lists."""
        return {
            "hours": [asdict(hour) for hour in self.hours],
            "lost": [asdict(worker) for worker in self.lost],
            "since": self.since,
            "until": self.until,
            "interval": self.interval,
            "bulk": [asdict(flag) for flag in self.bulk],
            "values": [asdict(value) for value in self.values],
        }


def usage(key: str | None = None, *, since: datetime | timedelta | None = None) -> Usage:
    """Returns the usage by hour and key, of all workers; without `key`, of all keys.

    `since` is a time, or how long ago. A worker's evaluations are included after its next flush.
    Makes five queries. Raises NoUsageError on SQLite, and before the migration.
    """
    connection, names = usage_tables()
    first = timezone.now() - since if isinstance(since, timedelta) else since
    with connection.cursor() as cursor:
        # Before the hours, which include at least what was reported until then.
        cursor.execute(fill(sql("usage_period_v1"), names))
        since_hour, until, interval = cursor.fetchone()
        cursor.execute(fill(sql("read_usage_v1"), names), [key, first])
        hours = tuple(HourlyUsage(*row) for row in cursor.fetchall())
        bulk = _read_bulk(cursor, names, None if key is None else [key], first)
        cursor.execute(fill(sql("read_value_usage_v1"), names), [key, first])
        values = tuple(ValueUsage(*row) for row in cursor.fetchall())
    lost = lost_workers("usage", since=first)
    return Usage(hours, lost, since_hour, until, interval, bulk, values)


def _read_bulk(
    cursor: CursorWrapper,
    names: dict[str, str],
    keys: Collection[str] | None,
    since: datetime | None,
) -> tuple[BulkUsage, ...]:
    given = None if keys is None else list(keys)
    cursor.execute(fill(sql("read_bulk_usage_v1"), names), [since, given])
    return tuple(BulkUsage(*row) for row in cursor.fetchall())


def prune_usage(older_than: timedelta) -> int:
    """Deletes the hours that ended longer ago than `older_than`, and returns their number.

    Also deletes the workers that were last seen before that, and the times of flags that were last
    served in bulk before that. Each thousand rows are a transaction of their own. Raises
    NoUsageError as `usage` does.
    """
    return sum(prune_usage_in_batches(timezone.now() - older_than))


def prune_usage_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the hours that ended before a time, and yields the number of each committed batch.

    A caller may stop between two batches. Raises NoUsageError as `usage` does.
    """
    connection, names = usage_tables()
    statement = fill(sql("prune_usage_v1"), names)
    return delete_in_batches(connection, statement, {"before": before}, _BATCH)


def usage_tables(*, is_readable: bool = False) -> tuple[BaseDatabaseWrapper, dict[str, str]]:
    """Returns the connection that has the tables, and the names of flagstaff's tables.

    Makes one query, unless they are known to be readable. Raises NoUsageError on SQLite, before the
    migration, and if row level security can hide rows.
    """
    connection = connections[conf.database]
    names = own_names(connection)
    tables = [names[table] for table in USAGE_TABLES]
    if not is_readable and (reason := why_unavailable(connection, *tables)):
        raise NoUsageError(
            'usage is not available in database "{database}"; {reason}',
            database=conf.database,
            reason=reason,
        )
    return connection, names


@dataclass(frozen=True)
class RecentEvaluations:
    """The evaluations of one key in the last days."""

    count: int
    #: Those of the last day.
    day_count: int
    last_evaluated_at: datetime

    @property
    def is_of_last_day(self) -> bool:
        """Whether the last one was within a day."""
        return aware(self.last_evaluated_at) > aware(timezone.now()) - _DAY


@dataclass(frozen=True)
class RecentUsage:
    """What all workers have reported in the last days."""

    days: int
    #: By key; keys that were not evaluated are absent.
    evaluations: Mapping[str, RecentEvaluations]
    #: The hosts of the workers that reported. The counts are not kept by worker.
    hosts: tuple[str, ...]
    #: By key; flags that were not served in bulk are absent.
    bulk: Mapping[str, BulkUsage] = field(default_factory=dict)

    def bulk_of(self, key: str) -> BulkUsage:
        """When the flag was served in bulk in these days."""
        return self.bulk.get(key) or BulkUsage(key)

    @property
    def evaluated_today(self) -> list[str]:
        """The keys that were evaluated within a day, in their order."""
        return [key for key, found in sorted(self.evaluations.items()) if found.is_of_last_day]

    @property
    def in_browsers_today(self) -> list[str]:
        """The keys that were served to browsers within a day, in their order."""
        times = {key: flag.served_to_browsers_at for key, flag in sorted(self.bulk.items())}
        first = aware(timezone.now()) - _DAY
        return [key for key, at in times.items() if at is not None and aware(at) > first]


def recent_usage(keys: Collection[str]) -> RecentUsage | None:
    """Returns the evaluations of keys in the last STALE_DAYS days, or None if usage is not known.

    Makes up to five queries. An error of the database makes the usage unknown, because a role may
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
        cursor.execute(
            fill(sql("recent_usage_v1"), names), [timezone.now() - _DAY, list(keys), since]
        )
        evaluations = {key: RecentEvaluations(*counted) for key, *counted in cursor.fetchall()}
        bulk = {flag.key: flag for flag in _read_bulk(cursor, names, keys, since)}
    if hosts is None and not evaluations:
        return None
    return RecentUsage(days, evaluations, tuple(hosts or ()), bulk)


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
    #: As in `BulkUsage`.
    served_in_bulk_at: datetime | None
    served_to_browsers_at: datetime | None


def flag_usage(key: str, *, since: datetime, lost_since: datetime) -> FlagUsage:
    """Returns the usage since the start of an hour, without evaluations before the flag existed.

    `lost` counts workers that were lost since `lost_since`. One query. The tables must exist,
    and no row may be hidden.
    """
    connection = connections[conf.database]
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("flag_usage_v1"), own_names(connection)), [key, lost_since, since])
        rows = cursor.fetchall()
    hours = tuple(UsageHour(*row[:4]) for row in rows if row[0] is not None)
    return FlagUsage(hours, *rows[0][4:])
