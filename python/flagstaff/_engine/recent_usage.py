"""How often flags were evaluated recently, for a person who deletes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error, transaction
from django.utils import timezone

from flagstaff._engine.usage_tables import usage_tables
from flagstaff._tables.names import fill, sql
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError


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
            return _read(keys, days)
    except (Error, NoUsageError):
        return None


def _read(keys: Collection[str], days: int) -> RecentUsage | None:
    connection, names = usage_tables()
    since = timezone.now() - timedelta(days=days)
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("reporting_hosts_v1"), names), [since])
        [hosts] = cursor.fetchone()
        cursor.execute(fill(sql("recent_usage_v1"), names), [list(keys), since])
        found = {key: RecentEvaluations(count, last) for key, count, last in cursor.fetchall()}
    return None if hosts is None and not found else RecentUsage(days, found, tuple(hosts or ()))
