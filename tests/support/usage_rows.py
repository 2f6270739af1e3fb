"""Rows of the usage, as workers write them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from tests.support.sql import rows

_INSERT = """
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT
        date_trunc(
            CASE WHEN result IN ('bulk', 'browsers', 'needed') THEN 'day' ELSE 'hour' END, at, 'UTC'
        ),
        key, result, count, at
    FROM (VALUES (%s::timestamptz, %s, %s, %s::bigint)) AS given (at, key, result, count)
    ON CONFLICT (key, result, hour) DO UPDATE SET
        count = flagstaff_usage.count + EXCLUDED.count,
        last_at = greatest(flagstaff_usage.last_at, EXCLUDED.last_at)
"""
_REPORTS = """
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT date_trunc('hour', at, 'UTC'), '', 'report', 0, at
    FROM generate_series(%s::timestamptz, %s::timestamptz, interval '-1 hour') AS at
    ON CONFLICT DO NOTHING
"""


def add_usage(
    key: str,
    result: str,
    count: int = 1,
    at: datetime | float = 0,
    *,
    execute: Callable[..., Any] = rows,
) -> None:
    """Adds usage of a key at a time, or so many days ago."""
    time = at if isinstance(at, datetime) else timezone.now() - timedelta(days=at)
    execute(_INSERT, time, key, result, count)


def add_reports(days: float, until: float = 0) -> None:
    """Adds the hourly reports of a worker from so many days ago until so many days ago."""
    begin, end = (timezone.now() - timedelta(days=days_ago) for days_ago in (days, until))
    rows(_REPORTS, end, begin)


def delete_usage() -> None:
    """Deletes all usage. The lock makes an engine of this process wait until after the test."""
    tables = ("flagstaff_usage", "flagstaff_report")
    rows(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
    for table in tables:
        rows(f"DELETE FROM {table}")
