"""`manage.py flags usage`, and the function `usage`."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from flagstaff import usage
from flagstaff._workers.usage import prune_usage_in_batches, usage_period
from flagstaff.exceptions import NoUsageError
from tests.support.concurrency import in_threads
from tests.support.fixtures import COMMITTED
from tests.support.shop import OPENED
from tests.support.sql import rows
from tests.support.terminals import document, flags, run, typed
from tests.support.usage_rows import add_usage, delete_usage

NO_REPORT = "no matching entries\nno worker has reported its usage yet; "


@pytest.mark.usefixtures("open_shop")
def test_period_of_the_counts_is_printed() -> None:
    at = timezone.now()
    add_usage("", "report", 0, at)
    assert (usage().since, usage().until) == (OPENED.replace(minute=0), at)
    until = f"{at:%Y-%m-%d %H:%M:%S} UTC; workers report every 60 s"
    assert run("usage").err == f"counted from 2026-11-20 08:00:00 UTC until {until}\n"
    first = at - timedelta(days=2)
    period = run("usage --days 2 --json").err.splitlines()[-1]
    assert period.startswith(f"counted from {first:%Y-%m-%d %H:}")
    assert run("usage --days 3650").status == 0


@pytest.mark.parametrize(
    ("interval", "reason"),
    [
        (60, "workers report every 60 s"),
        (0, "usage is turned off in this process: USAGE_INTERVAL is 0"),
    ],
)
def test_usage_before_the_first_report_says_so(interval: int, reason: str, settings: Any) -> None:
    delete_usage()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": interval}
    assert run("usage").err == f"{NO_REPORT}{reason}\n"


@pytest.mark.usefixtures("open_shop")
def test_usage_since_a_time_has_the_hours_with_a_later_evaluation() -> None:
    assert [hour.key for hour in usage("dark_mode", since=OPENED).hours] == ["dark_mode"]
    assert usage("dark_mode", since=OPENED + timedelta(seconds=1)).hours == ()
    assert usage("missing").hours == ()
    long_ago = timezone.now() - OPENED + timedelta(hours=1)
    assert len(usage(since=long_ago).hours) == 4
    kolkata = timezone.get_fixed_timezone(330)
    assert len(usage("dark_mode", since=OPENED.astimezone(kolkata)).hours) == 1


@pytest.mark.usefixtures("open_shop")
def test_usage_adds_up_the_hours_of_each_key_and_result() -> None:
    rows(
        "INSERT INTO flagstaff_usage (hour, key, result, count, last_at) "
        "SELECT hour + '1 hour', key, result, count, last_at + '1 hour' FROM flagstaff_usage"
    )
    first, *others = document("usage")
    last_at = "2026-11-20T09:17:00Z"
    assert first == {"key": "dark_mode", "result": "true", "count": 96_420, "last_at": last_at}
    assert [(record["key"], record["result"], record["count"]) for record in others] == [
        ("new_checkout", "false", 1868),
        ("new_checkout", "true", 602),
        ("new_chekout", "unknown", 34),
    ]
    assert [hour.count for hour in usage("new_checkout").hours] == [934, 301, 934, 301]


@pytest.mark.parametrize(
    ("result", "shown"),
    [("bulk", "bulk"), ("browsers", "browsers"), ("0", "the value itself"), ("2", "rule 2")],
)
def test_results_of_values_and_results_in_bulk_are_rows_of_their_own(
    result: str, shown: str
) -> None:
    delete_usage()
    at = datetime(2026, 11, 20, 14, 3, 5, tzinfo=timezone.get_fixed_timezone(0))
    add_usage("menu", result, 3, at)
    row = {"key": "menu", "result": result, "count": 3, "last_at": "2026-11-20T14:03:05Z"}
    assert document("usage") == [row]
    assert f" {shown} " in typed("flags usage")
    assert document("usage", "another") == []
    assert [hour.result for hour in usage("menu", since=at).hours] == [result]


def test_prune_deletes_old_hours() -> None:
    delete_usage()
    for key, days in (("old", 91), ("new", 89.9)):
        for result in ("true", "unknown", "1", "bulk", "browsers"):
            add_usage(key, result, 1, days)
    assert sum(prune_usage_in_batches(timezone.now() - timedelta(days=90))) == 5
    assert {hour.key for hour in usage().hours} == {"new"}


@COMMITTED
def test_prune_does_not_wait_for_a_worker_that_writes_usage() -> None:
    rows("DELETE FROM flagstaff_usage")
    for key in ("used", "old"):
        add_usage(key, "bulk", 0, 91)

    def prune() -> int:
        rows("SET lock_timeout = '200ms'")
        return sum(prune_usage_in_batches(timezone.now() - timedelta(days=90)))

    with transaction.atomic():
        rows("UPDATE flagstaff_usage SET last_at = now() WHERE key = 'used'")
        in_threads(prune)
        # No other test may find the row.
        assert rows("DELETE FROM flagstaff_usage RETURNING key") == [("used",)]


def test_longest_gap_is_between_reports_and_not_between_other_rows() -> None:
    delete_usage()
    now = timezone.now()
    for days in (9, 8, 5, 0):
        add_usage("", "report", 0, now - timedelta(days=days))
    # Served each day, and written with the start of the day.
    for days in range(12):
        add_usage("a", "bulk", 0, now - timedelta(days=days))
    period = usage_period(now - timedelta(days=6))
    assert (period.longest_gap, period.until) == (timedelta(days=5), now)
    assert period.since == (now - timedelta(days=9)).replace(minute=0, second=0, microsecond=0)
    assert usage_period(now - timedelta(days=3)).longest_gap == timedelta(days=5)
    assert usage_period(now).longest_gap == timedelta()


def test_usage_without_its_table_is_an_error() -> None:
    rows("DROP TABLE flagstaff_usage")
    with pytest.raises(NoUsageError, match="usage is not available"):
        usage()
    assert flags("usage").status == 1
