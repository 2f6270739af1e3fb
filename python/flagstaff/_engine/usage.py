"""What was asked: how often, with which answer, and by workers that have not said farewell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.utils import timezone

from flagstaff._tables.catalog import has_tables
from flagstaff._tables.names import fill, own_names, sql
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError

__all__ = ["HourlyUsage", "LostWorker", "Usage", "prune_usage", "usage"]


@dataclass(frozen=True)
class HourlyUsage:
    """How often a key was asked for in an hour, by all workers."""

    #: When the hour began.
    hour: datetime
    key: str
    #: Whether there was a flag of this key.
    defined: bool
    true_count: int
    false_count: int
    #: When it was last asked for, at most one USAGE_INTERVAL too late.
    last_evaluated_at: datetime


@dataclass(frozen=True)
class LostWorker:
    """A worker whose farewell is missing: what it was asked after `last_seen_at` may be lost."""

    host: str
    pid: int
    started_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class Usage:
    """What all workers have written down."""

    hours: tuple[HourlyUsage, ...]
    lost: tuple[LostWorker, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict of lists."""
        return {
            "hours": [asdict(hour) for hour in self.hours],
            "lost": [asdict(worker) for worker in self.lost],
        }


def usage(key: str | None = None, *, since: datetime | timedelta | None = None) -> Usage:
    """What was asked, by hour and key, by all workers; without a key, of all keys.

    `since` is a time, or how long ago. What a worker was asked comes with its next flush. Raises
    NoUsageError on other databases than PostgreSQL, and before the migration.
    """
    connection, names = _kept()
    first = timezone.now() - since if isinstance(since, timedelta) else since
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("read_usage_v1"), names), [key, first])
        hours = tuple(HourlyUsage(*row) for row in cursor.fetchall())
        cursor.execute(fill(sql("lost_workers_v1"), names), [first])
        return Usage(hours, tuple(LostWorker(*row) for row in cursor.fetchall()))


def prune_usage(older_than: timedelta) -> int:
    """Delete the hours that were over so long ago, and say how many they were.

    With them go the workers that were last heard of before. Raises NoUsageError as `usage` does.
    """
    connection, names = _kept()
    before = timezone.now() - older_than
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("prune_usage_v1"), names), [before, before])
        return int(cursor.fetchone()[0])


def _kept() -> tuple[Any, dict[str, str]]:
    """Where usage is kept, and the names there."""
    connection = connections[conf.database]
    names = own_names(connection)
    if not has_tables(connection, names["usage_table"], names["usage_worker_table"]):
        raise NoUsageError(
            f'database "{conf.database}" has no usage: it is kept on PostgreSQL, and '
            '"manage.py migrate" makes its tables'
        )
    return connection, names
