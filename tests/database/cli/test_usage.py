"""`manage.py flags usage`, and the function `usage`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
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
from tests.support.sql import rows
from tests.support.terminals import OPENED, Ran, delete_usage, flags, open_shop
from tests.support.usage_rows import add_usage

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("options", [[], ["--unknown"]])
def test_period_of_the_counts_is_printed(options: list[str]) -> None:
    open_shop()
    at = timezone.now()
    add_usage("", "report", 0, at)
    assert (usage().since, usage().until) == (OPENED.replace(minute=0), at)
    until = f"{at:%Y-%m-%d %H:%M:%S} UTC; workers report every 60 s"
    period = f"counted from 2026-11-20 08:00:00 UTC until {until}"
    assert flags("usage", *options).err.splitlines()[0] == period


def test_period_begins_with_the_days_that_are_asked_for() -> None:
    add_usage("a", "true", 1, 9)
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


def test_usage_since_a_time_has_the_hours_with_a_later_evaluation() -> None:
    open_shop()
    assert [hour.key for hour in usage("dark_mode", since=OPENED).hours] == ["dark_mode"]
    assert usage("dark_mode", since=OPENED + timedelta(seconds=1)).hours == ()
    assert usage("missing").hours == ()
    long_ago = timezone.now() - OPENED + timedelta(hours=1)
    assert len(usage(since=long_ago).hours) == 4
    kolkata = timezone.get_fixed_timezone(330)
    assert len(usage("dark_mode", since=OPENED.astimezone(kolkata)).hours) == 1


def test_usage_adds_up_the_hours_of_a_key() -> None:
    open_shop()
    rows(
        "INSERT INTO flagstaff_usage (hour, key, result, count, last_at) "
        "SELECT hour + '1 hour', key, result, count, last_at + '1 hour' FROM flagstaff_usage"
    )
    [first, second] = json.loads(flags("usage", "--json").out)
    assert first == {
        "key": "dark_mode",
        "true_count": 96_420,
        "false_count": 0,
        "last_evaluated_at": "2026-11-20T09:17:00Z",
        "served_in_bulk_at": None,
        "served_to_browsers_at": None,
    }
    assert (second["true_count"], second["false_count"]) == (602, 1868)
    hours = json.loads(flags("usage", "new_checkout", "--hours", "--json").out)
    assert [(hour["true_count"], hour["false_count"]) for hour in hours] == [(301, 934)] * 2


def test_usage_shows_flags_that_were_only_served_in_bulk_without_counts() -> None:
    delete_usage()
    served = datetime(2026, 11, 20, 14, 3, 5, tzinfo=timezone.get_fixed_timezone(0))
    add_usage("menu", "bulk", 0, served)
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
    assert [hour.result for hour in usage("menu", since=served).hours] == ["bulk"]
    assert usage(since=served + timedelta(seconds=1)).hours == ()


def test_usage_of_values_shows_how_often_each_result_was_returned() -> None:
    at = datetime(2026, 11, 20, 13, 30, tzinfo=timezone.get_fixed_timezone(0))
    add_usage("max_items", "0", 7, at)
    add_usage("max_items", "0", 5, at + timedelta(hours=1))
    add_usage("max_items", "2", 3, at)
    add_usage("other", "1", 1, at)
    found = json.loads(flags("usage", "max_items", "--values", "--json").out)
    assert found == [
        {
            "key": "max_items",
            "result": "the value itself",
            "count": 12,
            "last_evaluated_at": "2026-11-20T14:30:00Z",
        },
        {
            "key": "max_items",
            "result": "rule 2",
            "count": 3,
            "last_evaluated_at": "2026-11-20T13:30:00Z",
        },
    ]
    assert flags("usage", "nothing", "--values", "--json").out == "[]\n"


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


def test_prune_deletes_old_hours() -> None:
    delete_usage()
    for key, days in (("old", 91), ("new", 89.9)):
        for result in ("true", "unknown", "1", "bulk", "browsers"):
            add_usage(key, result, 1, days)
    ran = flags("usage", "--prune", "--older-than", "90", "--yes")
    assert ran == Ran(0, "", "deleted 5 usage entries\n")
    assert {hour.key for hour in usage().hours} == {"new"}
    ran = flags("usage", "--prune", "--older-than", "0", "--yes", "--json")
    assert json.loads(ran.out) == {"deleted": 5}
    assert flags("usage", "--prune", "--yes").status == 2


@COMMITTED
def test_prune_does_not_wait_for_a_worker_that_writes_usage() -> None:
    rows("DELETE FROM flagstaff_usage")
    for key in ("used", "old"):
        add_usage(key, "bulk", 0, 91)

    def prune() -> int:
        rows("SET lock_timeout = '200ms'")
        return prune_usage(timedelta(days=90))

    with transaction.atomic():
        rows("UPDATE flagstaff_usage SET last_at = now() WHERE key = 'used'")
        in_threads(prune)
        # No other test may find the row.
        assert rows("DELETE FROM flagstaff_usage RETURNING key") == [("used",)]


def test_usage_without_its_table_is_an_error() -> None:
    rows("DROP TABLE flagstaff_usage")
    with pytest.raises(NoUsageError, match="usage is not available"):
        usage()
    assert flags("usage").status == 1
