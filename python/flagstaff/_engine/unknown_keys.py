"""Keys that were evaluated although they have no flag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from flagstaff._engine.usage import usage_tables
from flagstaff._tables.names import fill, flag_names, sql
from flagstaff.conf import conf

#: The name under which workers count unknown keys that look generated, or are too many.
OTHER_KEYS = "(other keys)"


@dataclass(frozen=True)
class UnknownKey:
    """A key without a flag."""

    key: str
    evaluations: int
    #: The start of the first hour with an evaluation.
    first_hour: datetime
    last_evaluated_at: datetime


@dataclass(frozen=True)
class UnknownKeys:
    """Some of the unknown keys, the last evaluated first, and which time the counts cover."""

    keys: tuple[UnknownKey, ...]
    #: The number of all unknown keys; 0 if none of them is in `keys`.
    total: int
    #: As in `Usage`.
    since: datetime | None
    until: datetime | None
    interval: float | None
    #: The hosts of the workers that have reported. The counts are totals of all hosts.
    hosts: tuple[str, ...]


def count_unknown_keys(age: timedelta, *, is_readable: bool = False) -> int:
    """Returns how many keys were evaluated without a flag in the last `age`. Makes two queries.

    `is_readable`: the tables of the usage are known to be readable, which saves a query. Raises
    NoUsageError as `unknown_keys`.
    """
    connection, names = usage_tables(is_readable=is_readable)
    names = {**names, **flag_names(connection, conf.flag_model)}
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("unknown_keys_v1"), names), [timezone.now() - age, 1, 0])
        row = cursor.fetchone()
    return row[4] if row else 0


def unknown_keys(
    *, age: timedelta | None = None, limit: int | None = None, offset: int = 0
) -> UnknownKeys:
    """Returns the keys that were evaluated without a flag in the last `age`, or ever.

    Makes four queries. Raises NoUsageError on SQLite, and before the
    migration.
    """
    connection, names = usage_tables()
    names = {**names, **flag_names(connection, conf.flag_model)}
    first = None if age is None else timezone.now() - age
    with connection.cursor() as cursor:
        # Before the keys, which include at least what was reported until then.
        cursor.execute(fill(sql("usage_period_v1"), names))
        since, until, interval = cursor.fetchone()
        cursor.execute(fill(sql("unknown_keys_v1"), names), [first, limit, offset])
        rows = cursor.fetchall()
        cursor.execute(fill(sql("reporting_hosts_v1"), names), [first or "-infinity"])
        [hosts] = cursor.fetchone()
    keys = tuple(UnknownKey(*row[:4]) for row in rows)
    total = rows[0][4] if rows else 0
    return UnknownKeys(keys, total, since, until, interval, tuple(hosts or ()))
