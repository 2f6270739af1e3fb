"""The usage of one flag, for its page: everything in one query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from flagstaff._tables.names import fill, own_names, sql
from flagstaff.conf import conf


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
