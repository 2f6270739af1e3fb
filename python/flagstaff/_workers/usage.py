"""Usage: how often each key was evaluated, with which result, and when it was served in bulk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error
from django.utils import timezone

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.database import db, fill, flag_names, sql
from flagstaff._text.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError

#: The name under which workers count unknown keys that look generated, or are too many.
OTHER_KEYS = "(other keys)"

# The rows that one transaction deletes.
_BATCH = 1_000
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class HourlyUsage:
    """How often all workers returned one result of a key in one hour."""

    #: The start of the hour; of the day for "bulk", "browsers" and "needed".
    hour: datetime
    key: str
    #: "true" or "false" of a flag; "unknown" if there was no flag; of a value, the number that the
    #: rule had then, or "0" for the value itself. "bulk" or "browsers" if the flag was served with
    #: many others: by `all_flags()`, or by `all_flags(client_side=True)` as the view for browsers.
    #: "needed" if a condition of another row has read the flag.
    result: str
    #: 0 for "bulk", "browsers" and "needed", which are not counted.
    count: int
    #: When a worker last reported it: up to USAGE_INTERVAL after the evaluation. Of "bulk",
    #: "browsers" and "needed", it can be an hour too early.
    last_at: datetime


@dataclass(frozen=True)
class UsagePeriod:
    """The time in which the evaluations were counted."""

    #: The hour of the oldest report of any worker; None if there is none.
    since: datetime | None
    #: The newest report of any worker. Later evaluations are not included.
    until: datetime | None
    #: The longest time without a report of any worker.
    longest_gap: timedelta = timedelta()


@dataclass(frozen=True)
class Usage:
    """The usage that all workers have reported."""

    hours: tuple[HourlyUsage, ...]
    #: As in `UsagePeriod`.
    since: datetime | None = None
    until: datetime | None = None

    def as_dict(self) -> dict[str, object]:
        """Returns the usage as a dict, with a list of hours."""
        return {**vars(self), "hours": [asdict(hour) for hour in self.hours]}


@dataclass(frozen=True)
class KeyUsage:
    """How often a key was evaluated since a time, and when a worker last reported it."""

    true_count: int = 0
    false_count: int = 0
    #: All evaluations, also those without a flag.
    count: int = 0
    #: The last report of an evaluation, or of a condition of another row that has read the flag.
    last_evaluated_at: datetime | None = None
    #: By `all_flags()`: the code may have used the result, or not.
    served_in_bulk_at: datetime | None = None
    #: By `all_flags(client_side=True)`, as the view for browsers.
    served_to_browsers_at: datetime | None = None

    @property
    def in_use_at(self) -> datetime | None:
        """When the flag was last in use: evaluated, or served to browsers."""
        times = self.last_evaluated_at, self.served_to_browsers_at
        return max((at for at in times if at is not None), default=None)


NOT_USED = KeyUsage()


@dataclass(frozen=True)
class RecentUsage:
    """What all workers have reported in the last days."""

    days: int
    #: Of the days, by key; keys that were not used are absent.
    keys: Mapping[str, KeyUsage]
    #: Of the last day.
    today: Mapping[str, KeyUsage]
    #: Whether counting began before these days.
    is_whole: bool


def usage(key: str | None = None, *, since: datetime | timedelta | None = None) -> Usage:
    """Returns the usage by hour, key and result, of all workers; without `key`, of all keys.

    `since` is a time, or how long ago. A worker's evaluations are included after its next flush.
    Makes three queries. Raises NoUsageError on SQLite, and before the migration.
    """
    require_usage()
    first = timezone.now() - since if isinstance(since, timedelta) else since
    return read_usage(None if key is None else [key], first)


def read_usage(keys: Collection[str] | None, since: datetime | None) -> Usage:
    """Returns the same as `usage`. The table must be readable. Makes two queries."""
    # Before the hours, which include at least what was reported until then.
    period = usage_period()
    return Usage(hourly_usage(keys, since), period.since, period.until)


def hourly_usage(keys: Collection[str] | None, since: datetime | None) -> tuple[HourlyUsage, ...]:
    """Returns the hours of `read_usage`, without the period. One query."""
    parameters = {"keys": None if keys is None else [*keys], "since": since}
    return tuple(HourlyUsage(*row) for row in _rows("read_usage_v1", parameters))


def usage_period(since: datetime | None = None) -> UsagePeriod:
    """Returns the period that the usage covers, with the longest gap since a time. One query."""
    [(first, last, gap)] = _rows("usage_period_v1", [since or timezone.now()])
    return UsagePeriod(first and aware(first), last and aware(last), gap or timedelta())


def key_usage(keys: Collection[str], since: datetime) -> dict[str, KeyUsage]:
    """Returns the usage of keys, counted since a time. Keys without usage are absent. One query."""
    rows = _rows("key_usage_v1", {"keys": [*keys], "since": since})
    return {row[0]: KeyUsage(*row[1:4], *(at and aware(at) for at in row[4:])) for row in rows}


def recent_usage(keys: Collection[str]) -> RecentUsage | None:
    """Returns the usage of keys in the last STALE_DAYS days, or None if usage is not known.

    Makes up to five queries. An error of the database makes the usage unknown, because a role may
    have no right to read it.
    """
    days = conf.stale_days
    try:
        with db.atomic():
            require_usage()
            period = usage_period()
            if period.since is None:
                return None
            used, today = (_used_within(keys, age) for age in (days * _DAY, _DAY))
            is_whole = period.since <= aware(timezone.now()) - days * _DAY
            return RecentUsage(days, used, today, is_whole)
    except (Error, NoUsageError):
        return None


def _used_within(keys: Collection[str], age: timedelta) -> dict[str, KeyUsage]:
    """Returns the usage of the keys that were used in this time, without earlier times."""
    first, used = aware(timezone.now()) - age, {}
    for key, usage in sorted(key_usage(keys, first).items()):
        times = usage.last_evaluated_at, usage.served_in_bulk_at, usage.served_to_browsers_at
        recent = [at if at and at >= first else None for at in times]
        if any(recent):
            used[key] = KeyUsage(usage.true_count, usage.false_count, usage.count, *recent)
    return used


def unknown_keys(
    age: timedelta | None = None, *, limit: int | None = None, offset: int = 0
) -> tuple[tuple[HourlyUsage, ...], int]:
    """Returns the keys without a flag that were evaluated in the last `age`, or ever. One query.

    Each has the sum of its hours and the first one; the last evaluated key comes first. The second
    item is the number of all these keys; 0 if none is returned. The table must be readable.
    """
    since = None if age is None else timezone.now() - age
    rows = _rows("unknown_keys_v1", {"since": since, "limit": limit, "offset": offset})
    return tuple(HourlyUsage(*row[:5]) for row in rows), rows[0][5] if rows else 0


def _rows(name: str, parameters: Mapping[str, Any] | list[Any]) -> list[tuple[Any, ...]]:
    return db.query(name, parameters, flag_names(db.connection, conf.flag_model))


def prune_usage_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the hours that ended before a time, and yields the number of each committed batch.

    A caller may stop between two batches. Raises NoUsageError as `usage` does.
    """
    require_usage()
    statement = fill(sql("prune_usage_v1"), db.tables)
    return db.delete_in_batches(statement, {"before": before}, _BATCH)


def require_usage() -> None:
    """Raises NoUsageError on SQLite, before the migration, and if row security can hide rows.

    Makes one query.
    """
    if reason := why_unavailable(db.connection, db.tables["usage_table"]):
        raise NoUsageError(
            'usage is not available in database "{database}"; {reason}',
            database=db.alias,
            reason=reason,
        )
