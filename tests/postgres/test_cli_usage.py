"""`flags usage` and `flags unknown`, and what they are made from."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from flagstaff import usage
from flagstaff.exceptions import NoUsageError
from flagstaff.models import FeatureFlag
from tests.terminals import OPENED, Ran, flags, open_shop, unasked

pytestmark = pytest.mark.django_db


def execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def worker_heard(pid: int, ago: str, *, left: bool = False) -> None:
    execute(
        "INSERT INTO flagstaff_usage_worker "
        "VALUES (%s, 'web-1', %s, now(), 60, 1, now() - %s::interval, %s)",
        *(str(pid), pid, ago, timezone.now() if left else None),
    )


def test_workers_without_a_farewell_are_named() -> None:
    unasked()
    worker_heard(1, "1 hour", left=True)
    worker_heard(2, "125 seconds")
    worker_heard(3, "135 seconds")
    assert [worker.pid for worker in usage().lost] == [3]
    ran = flags("usage")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.startswith("no usage is written down\nprocess 3 on web-1 has said no farewell")


def test_since_counts_the_hour_that_had_begun() -> None:
    open_shop()
    assert [hour.key for hour in usage("dark_mode", since=OPENED).hours] == ["dark_mode"]
    assert usage("dark_mode", since=OPENED + timedelta(hours=1)).hours == ()
    assert usage("missing").hours == ()
    long_ago = timezone.now() - OPENED + timedelta(hours=1)
    assert len(usage(since=long_ago).hours) == 3


def test_since_counts_the_hour_that_had_begun_where_clocks_are_half_an_hour_off() -> None:
    open_shop()
    kolkata = timezone.get_fixed_timezone(330)
    assert len(usage("dark_mode", since=OPENED.replace(minute=40).astimezone(kolkata)).hours) == 1


def test_hours_of_a_key_are_added_up() -> None:
    open_shop()
    execute("INSERT INTO flagstaff_usage SELECT hour + '1 hour', key, defined, no, yes, "
            "last_evaluated_at + '1 hour' FROM flagstaff_usage")  # fmt: skip
    [first, _second] = json.loads(flags("usage", "--json").out)
    assert first == {
        "key": "dark_mode",
        "true_count": 96_420,
        "false_count": 0,
        "last_evaluated_at": "2026-11-20T09:17:00Z",
    }


def test_key_that_has_a_flag_by_now_is_not_unknown() -> None:
    open_shop()
    assert flags("unknown").out.startswith("new_chekout\t17\t")
    FeatureFlag.objects.create(key="new_chekout")
    assert flags("unknown") == Ran(0, "", "no key without a flag was asked for\n")


def test_hours_that_are_old_are_pruned_and_what_may_still_come_counts_once() -> None:
    open_shop()
    execute("UPDATE flagstaff_usage SET hour = now() - '90 days 59 minutes'::interval")
    execute("UPDATE flagstaff_usage SET hour = now() - '91 days'::interval WHERE key = 'dark_mode'")
    worker_heard(1, "91 days", left=True)
    worker_heard(2, "91 days")
    worker_heard(3, "2 hours")
    ran = flags("usage", "--prune", "--older-than", "90", "--yes")
    assert ran == Ran(0, "", "deleted 1 entry of the usage\n")
    assert "dark_mode" not in {hour.key for hour in usage().hours}
    told = flags("usage", "--prune", "--older-than", "0", "--yes", "--json").out
    assert json.loads(told) == {"deleted": 2}
    assert [worker.pid for worker in usage().lost] == [3]
    assert flags("usage", "--prune", "--yes").status == 2


def test_days_are_a_number() -> None:
    assert flags("usage", "--days", "x").status != 0
    assert flags("usage", "--days", "99999999").status == 0


def test_database_without_the_tables_says_so() -> None:
    execute("DROP TABLE flagstaff_usage")
    with pytest.raises(NoUsageError, match="has no usage"):
        usage()
    assert flags("usage").status == 1
