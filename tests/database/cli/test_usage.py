"""`manage.py flags usage`, and the function `usage`."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from flagstaff import usage
from flagstaff._engine.usage import prune_usage
from flagstaff.exceptions import NoUsageError
from flagstaff.models import FeatureFlag
from tests.support.concurrency import in_threads
from tests.support.fixtures import COMMITTED
from tests.support.reports import register_worker
from tests.support.sql import rows
from tests.support.terminals import OPENED, Ran, delete_usage, flags, open_shop

pytestmark = pytest.mark.django_db

DAY = 86_400
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


def test_lost_workers_are_listed() -> None:
    delete_usage()
    register_worker(pid=1, seconds_ago=3600, stopped=True)
    register_worker(pid=2, seconds_ago=125)
    register_worker(pid=3, seconds_ago=135)
    assert [worker.pid for worker in usage().lost] == [3]
    ran = flags("usage")
    assert (ran.status, ran.out) == (0, "")
    entries, period, lost = ran.err.splitlines()
    assert entries == "no matching entries"
    assert re.fullmatch(f"counted until {TIME}; workers report every 60 s", period)
    message = f"worker web-1 (pid 3) did not shut down cleanly; usage after {TIME} may be missing"
    assert re.fullmatch(re.escape(message).replace(re.escape(TIME), TIME), lost)


@pytest.mark.parametrize("options", [[], ["--unknown"]])
def test_period_of_the_counts_is_printed(options: list[str]) -> None:
    open_shop()
    register_worker(pid=1, seconds_ago=20)
    register_worker(pid=2, seconds_ago=50)
    register_worker(pid=3, seconds_ago=3600, stopped=True)
    register_worker(pid=4, seconds_ago=7200)
    found = usage()
    assert found.until is not None
    assert timedelta(seconds=50) <= timezone.now() - found.until < timedelta(seconds=60)
    assert (found.since, found.interval) == (OPENED.replace(minute=0), 60.0)
    until = f"{found.until:%Y-%m-%d %H:%M:%S} UTC; workers report every 60 s"
    period = f"counted from 2026-11-20 08:00:00 UTC until {until}"
    assert flags("usage", *options).err.splitlines()[0] == period


def test_period_begins_with_the_days_that_are_asked_for() -> None:
    rows("INSERT INTO flagstaff_usage VALUES (now() - interval '9 days', 'a', true, 1, 1, now())")
    register_worker(seconds_ago=1)
    first = timezone.now() - timedelta(days=2)
    period = flags("usage", "--days", "2", "--json").err.splitlines()[-1]
    assert period.startswith(f"counted from {first:%Y-%m-%d %H:}")
    assert flags("usage", "--days", "x").status != 0
    assert flags("usage", "--days", "99999999").status == 0


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
    assert flags("usage", "--unknown").err == (
        f"no unknown keys were evaluated\nno worker has reported its usage yet; {reason}\n"
    )


def test_usage_since_includes_the_current_hour() -> None:
    open_shop()
    assert [hour.key for hour in usage("dark_mode", since=OPENED).hours] == ["dark_mode"]
    assert usage("dark_mode", since=OPENED + timedelta(hours=1)).hours == ()
    assert usage("missing").hours == ()
    long_ago = timezone.now() - OPENED + timedelta(hours=1)
    assert len(usage(since=long_ago).hours) == 3
    kolkata = timezone.get_fixed_timezone(330)
    assert len(usage("dark_mode", since=OPENED.replace(minute=40).astimezone(kolkata)).hours) == 1


def test_usage_adds_up_the_hours_of_a_key() -> None:
    open_shop()
    columns = "key, defined, true_count, false_count"
    rows(
        f"INSERT INTO flagstaff_usage (hour, {columns}, last_evaluated_at) "
        f"SELECT hour + '1 hour', {columns}, last_evaluated_at + '1 hour' FROM flagstaff_usage"
    )
    [first, _second] = json.loads(flags("usage", "--json").out)
    assert first == {
        "key": "dark_mode",
        "true_count": 96_420,
        "false_count": 0,
        "last_evaluated_at": "2026-11-20T09:17:00Z",
        "served_in_bulk_at": None,
        "served_to_browsers_at": None,
    }


def test_usage_shows_flags_that_were_only_served_in_bulk_without_counts() -> None:
    delete_usage()
    rows("INSERT INTO flagstaff_bulk_usage VALUES ('menu', '2026-11-20 14:03:05Z', NULL)")
    [found] = json.loads(flags("usage", "--json").out)
    assert found == {
        "key": "menu",
        "true_count": 0,
        "false_count": 0,
        "last_evaluated_at": None,
        "served_in_bulk_at": "2026-11-20T14:03:05Z",
        "served_to_browsers_at": None,
    }
    [line] = flags("usage").out.splitlines()
    assert line.startswith("menu\t0\t0\t\t2026-11-20T14:03:05")
    assert flags("usage", "another", "--json").out == "[]\n"
    assert flags("usage", "--hours", "--json").out == "[]\n"
    assert usage().hours == ()
    assert [flag.key for flag in usage("menu").bulk] == ["menu"]
    served = usage().bulk[0].served_in_bulk_at
    assert served is not None
    assert usage(since=served + timedelta(minutes=59)).bulk != ()
    assert usage(since=served + timedelta(minutes=61)).bulk == ()


def test_usage_of_values_shows_how_often_each_result_was_returned() -> None:
    rows(
        "INSERT INTO flagstaff_value_usage VALUES "
        "('2026-11-20 13:00Z', 'max_items', 0, 7), ('2026-11-20 14:00Z', 'max_items', 0, 5), "
        "('2026-11-20 13:00Z', 'max_items', 2, 3), ('2026-11-20 13:00Z', 'other', 1, 1)"
    )
    found = json.loads(flags("usage", "max_items", "--values", "--json").out)
    assert found == [
        {
            "key": "max_items",
            "result": "the value itself",
            "count": 12,
            "last_hour": "2026-11-20T14:00:00Z",
        },
        {"key": "max_items", "result": "rule 2", "count": 3, "last_hour": "2026-11-20T13:00:00Z"},
    ]
    assert flags("usage", "nothing", "--values", "--json").out == "[]\n"


def test_time_of_bulk_usage_before_the_period_is_left_out() -> None:
    delete_usage()
    rows("INSERT INTO flagstaff_bulk_usage VALUES ('menu', now() - interval '9 days', now())")
    [found] = usage(since=timedelta(days=8)).bulk
    assert (found.served_in_bulk_at, found.served_to_browsers_at is None) == (None, False)


def test_usage_of_unknown_keys_has_the_columns_of_json() -> None:
    open_shop()
    [found] = json.loads(flags("usage", "--unknown", "--json").out)
    assert found == {
        "key": "new_chekout",
        "evaluations": 17,
        "last_evaluated_at": "2026-11-20T08:17:00Z",
    }
    assert flags("usage", "--unknown", "--days", "1", "--json").out == "[]\n"


def test_usage_of_unknown_keys_leaves_out_keys_that_have_a_flag() -> None:
    open_shop()
    assert flags("usage", "--unknown").out.startswith("new_chekout\t17\t")
    FeatureFlag.objects.create(key="new_chekout")
    ran = flags("usage", "--unknown")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.startswith("no unknown keys were evaluated\n")


def test_usage_of_unknown_keys_refuses_a_key() -> None:
    ran = flags("usage", "new_chekout", "--unknown")
    message = "--unknown lists all keys without a flag: leave out KEY"
    assert ran == Ran(2, "", f"CommandError: {message}\n")


def test_prune_deletes_old_hours_and_keeps_live_workers() -> None:
    open_shop()
    rows("UPDATE flagstaff_usage SET hour = now() - '90 days 59 minutes'::interval")
    rows("UPDATE flagstaff_usage SET hour = now() - '91 days'::interval WHERE key = 'dark_mode'")
    register_worker(pid=1, seconds_ago=91 * DAY, stopped=True)
    register_worker(pid=2, seconds_ago=91 * DAY)
    register_worker(pid=3, seconds_ago=7200)
    ran = flags("usage", "--prune", "--older-than", "90", "--yes")
    assert ran == Ran(0, "", "deleted 1 usage entry\n")
    assert "dark_mode" not in {hour.key for hour in usage().hours}
    ran = flags("usage", "--prune", "--older-than", "0", "--yes", "--json")
    assert json.loads(ran.out) == {"deleted": 2}
    assert [worker.pid for worker in usage().lost] == [3]
    assert flags("usage", "--prune", "--yes").status == 2


def test_prune_deletes_old_times_of_bulk_usage() -> None:
    delete_usage()
    rows(
        "INSERT INTO flagstaff_bulk_usage VALUES ('old', now() - interval '91 days', NULL), "
        "('new', now() - interval '91 days', now() - interval '90 days')"
    )
    flags("usage", "--prune", "--older-than", "90", "--yes")
    assert [flag.key for flag in usage().bulk] == ["new"]


@COMMITTED
def test_prune_does_not_wait_for_a_worker_that_writes_bulk_usage() -> None:
    rows("DELETE FROM flagstaff_bulk_usage")
    rows(
        "INSERT INTO flagstaff_bulk_usage "
        "SELECT key, now() - interval '91 days' FROM unnest(ARRAY['used', 'old']) AS key"
    )

    def prune() -> int:
        rows("SET lock_timeout = '200ms'")
        return prune_usage(timedelta(days=90))

    with transaction.atomic():
        rows("UPDATE flagstaff_bulk_usage SET served_in_bulk_at = now() WHERE key = 'used'")
        in_threads(prune)
        # No other test may find the row.
        assert rows("DELETE FROM flagstaff_bulk_usage RETURNING key") == [("used",)]


@pytest.mark.parametrize(
    "table", ["flagstaff_usage", "flagstaff_bulk_usage", "flagstaff_value_usage"]
)
def test_usage_without_tables_is_an_error(table: str) -> None:
    rows(f"DROP TABLE {table}")
    with pytest.raises(NoUsageError, match="usage is not available"):
        usage()
    assert flags("usage").status == 1
