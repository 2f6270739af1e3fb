"""Times that SQL has set to one that Python cannot represent: plans are shown, driven, stopped."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.test import Client

from flagstaff import rollouts
from flagstaff._time_fields import MAX_YEAR
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import page
from tests.support.fixtures import COMMITTED
from tests.support.plan_pages import PLANS, plan_url
from tests.support.rollouts import (
    KEY,
    STEPS,
    add_worker,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see,
)
from tests.support.sql import rows
from tests.support.terminals import run

pytestmark = pytest.mark.django_db

TIMES = ["infinity", "-infinity", "294276-12-31"]
PLAN_COLUMNS = ["due_at", "starts_at", "guarded_until", "created_at", "changed_at", "ended_at"]
OTHER_COLUMNS = [
    ("steprun", "started_at"),
    ("steprun", "ended_at"),
    ("planevent", "at"),
    ("driverrun", "last_run_at"),
    ("failedunit", "at"),
]


@pytest.fixture(autouse=True)
def started(driver: None) -> None:
    make_flag()
    rollouts.start(KEY, STEPS)
    add_worker(last_seen=timedelta(0))
    fail(run_of(), inside=False, users=1)


def set_time(table: str, column: str, time: str) -> None:
    rows(f"UPDATE flagstaff_rollouts_{table} SET {column} = %s", time)


@pytest.mark.thorough
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("column", PLAN_COLUMNS)
def test_plan_is_shown_driven_and_stopped_with_any_time(
    operator: Client, column: str, time: str
) -> None:
    set_time("plan", column, time)
    assert KEY in page(operator, PLANS)
    assert KEY in page(operator, plan_url(plan_of()))
    assert run(f"plan {KEY} status").status == 0
    [report] = run_plans()
    assert report.error is None
    assert run(f"plan {KEY} rollback").status == 0
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    assert run(f"plan {KEY} delete --yes").status == 0
    assert not Plan.objects.exists()


# The page of recent changes shows committed ones only.
@pytest.mark.thorough
@COMMITTED
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("table", "column"), OTHER_COLUMNS)
def test_other_tables_of_plans_are_read_with_any_time(
    operator: Client, table: str, column: str, time: str
) -> None:
    set_time(table, column, time)
    assert KEY in page(operator, plan_url(plan_of()))
    assert KEY in page(operator, "/admin/flagstaff/recentchange/")
    assert run(f"plan {KEY} status").status == 0
    [report] = run_plans()
    assert report.error is None


@pytest.mark.parametrize("time", TIMES)
def test_plan_trips_whatever_its_times_are(time: str) -> None:
    for column in PLAN_COLUMNS:
        set_time("plan", column, time)
    see(run_of(), inside=True, users=200)
    see(run_of(), inside=False, users=3000)
    fail(run_of(), inside=True, users=60)
    [report] = run_plans()
    assert (report.event, rollout()) == ("tripped", 0)


def test_page_of_a_plan_that_starts_as_late_as_possible_has_its_times(operator: Client) -> None:
    make_flag("dark_mode")
    late = datetime(MAX_YEAR - 1, 12, 31, tzinfo=timezone.utc)
    plan = rollouts.start("dark_mode", ["1:365d", "2:365d", "3:365d"], starts_at=late)
    assert f"{MAX_YEAR + 1}" in page(operator, plan_url(plan))
