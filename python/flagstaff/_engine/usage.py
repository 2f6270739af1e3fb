"""Usage: how often each key was evaluated, with which result, and which workers were lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from flagstaff._engine.usage_tables import usage_tables
from flagstaff._engine.worker_register import LostWorker, lost_workers
from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.names import fill, sql

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
