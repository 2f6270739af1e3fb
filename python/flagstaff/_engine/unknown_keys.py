"""Keys that were evaluated although they have no flag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from flagstaff._engine.usage import require_usage, usage_period
from flagstaff._tables.names import fill, flag_names, own_names, sql
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


def count_unknown_keys(age: timedelta, *, is_readable: bool = False) -> int:
    """Returns how many keys were evaluated without a flag in the last `age`. Makes two queries.

    `is_readable`: the table of the usage is known to be readable, which saves a query. Raises
    NoUsageError as `unknown_keys`.
    """
    if not is_readable:
        require_usage()
    return _read(timezone.now() - age, 1, 0)[1]


def unknown_keys(
    *, age: timedelta | None = None, limit: int | None = None, offset: int = 0
) -> UnknownKeys:
    """Returns the keys that were evaluated without a flag in the last `age`, or ever.

    Makes three queries. Raises NoUsageError on SQLite, and before the migration.
    """
    require_usage()
    # Before the keys, which include at least what was reported until then.
    period = usage_period()
    keys, total = _read(None if age is None else timezone.now() - age, limit, offset)
    return UnknownKeys(keys, total, period.since, period.until)


def _read(
    since: datetime | None, limit: int | None, offset: int
) -> tuple[tuple[UnknownKey, ...], int]:
    connection = connections[conf.database]
    names = {**own_names(connection), **flag_names(connection, conf.flag_model)}
    given = {"since": since, "limit": limit, "offset": offset}
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("unknown_keys_v1"), names), given)
        rows = cursor.fetchall()
    return tuple(UnknownKey(*row[:4]) for row in rows), rows[0][4] if rows else 0
