"""Functions of the project that guard a plan, and leave a mess behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event

import pytest
from django.db import connection, transaction

from flagstaff import rollouts
from flagstaff.rollouts import callables
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, State
from tests.support.fixtures import COMMITTED
from tests.support.rollouts import (
    KEY,
    drive_recently,
    end_dwell_time,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see_enough,
)

pytestmark = COMMITTED

STEPS = ["5:1h", "25:1h", "100:1h"]
MODULE = "tests.database.rollouts.test_callables"


def begin() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def end_autocommit() -> None:
    transaction.set_autocommit(False)


def open_block() -> None:
    transaction.atomic().__enter__()


def exit_process() -> None:
    sys.exit(3)


#: What the guard does, and then it is fine.
act: Callable[[], object] = begin


def messy(plan: Plan) -> bool:
    act()
    return True


def jump_and_complain(plan: Plan) -> str:
    rollouts.jump(plan.key, 25)
    return "few orders"


@pytest.fixture(autouse=True)
def started(db: None) -> None:
    drive_recently()
    make_flag()
    make_flag("dark_mode")
    rollouts.start(KEY, STEPS, guards=["errors", f"call={MODULE}.messy"])
    rollouts.start("dark_mode", STEPS)


@pytest.mark.parametrize("mess", [begin, end_autocommit, open_block, exit_process])
def test_mess_of_a_guard_does_not_keep_other_plans_from_running(
    monkeypatch: pytest.MonkeyPatch, mess: Callable[[], object]
) -> None:
    monkeypatch.setattr(f"{MODULE}.act", mess)
    see_enough("dark_mode")
    end_dwell_time("dark_mode")
    reports = run_plans()
    connection.close()
    assert [report.error for report in reports] == [None, None]
    assert rollout("dark_mode") == 25


def test_transaction_that_a_guard_leaves_open_does_not_lose_a_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{MODULE}.act", end_autocommit)
    see_enough()
    fail(run_of(), inside=True, users=300)
    run_plans()
    connection.close()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_guard_that_does_not_return_holds_its_plan_only(monkeypatch: pytest.MonkeyPatch) -> None:
    released = Event()
    monkeypatch.setattr(f"{MODULE}.act", released.wait)
    monkeypatch.setattr(callables, "MAX_SECONDS", 0.05)
    see_enough("dark_mode")
    end_dwell_time("dark_mode")
    try:
        run_plans()
        assert rollout("dark_mode") == 25
        assert plan_of().reason == f"{MODULE}.messy did not return within 0.05 s; make it faster"
    finally:
        released.set()


def test_result_of_a_guard_is_not_used_for_another_run() -> None:
    make_flag("new_search")
    rollouts.start("new_search", STEPS, guards=[f"call={MODULE}.jump_and_complain"])
    assert "new_search" not in [report.plan for report in run_plans()]
    assert (plan_of("new_search").state, rollout("new_search")) == (State.RUNNING, 25)
