"""Several drivers and people at once, each with a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff import changes, rollouts
from flagstaff.exceptions import ConflictError, PlanError
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import advance, transitions
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, PlanEvent, State, StepRun
from flagstaff.rollouts.reports import PlanReport
from tests.support.concurrency import run_during
from tests.support.fixtures import COMMITTED
from tests.support.rollouts import (
    KEY,
    drive_recently,
    end_dwell_time,
    events,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see_enough,
)

pytestmark = COMMITTED

STEPS = ["5:1h", "25:1h", "100:1h"]
DRIVERS = 10


@pytest.fixture(autouse=True)
def started(db: None) -> None:
    drive_recently()
    make_flag()
    rollouts.start(KEY, STEPS)


def in_threads(*work: Callable[[], Any]) -> list[Any]:
    """Runs all of this at once, and returns the results."""
    barrier = Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return one()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def in_another_session(work: Callable[[], Any]) -> Any:
    [result] = in_threads(work)
    return result


def news(runs: list[list[PlanReport]]) -> list[PlanReport]:
    assert [report.error for reports in runs for report in reports if report.error] == []
    return [report for reports in runs for report in reports if report.is_news]


def test_ten_drivers_make_each_step_once() -> None:
    see_enough()
    end_dwell_time()
    [report] = news(in_threads(*[run_plans] * DRIVERS))
    assert (report.event, rollout()) == ("step", 25)
    assert events() == ["created", "started", "step"]
    assert StepRun.objects.filter(step=1).count() == 1


def test_ten_drivers_trip_once() -> None:
    see_enough()
    fail(run_of(), inside=True, users=300)
    [report] = news(in_threads(*[run_plans] * DRIVERS))
    assert (report.event, rollout()) == ("tripped", 0)
    assert events() == ["created", "started", "tripped", "propagated"]


def test_ten_drivers_start_a_scheduled_plan_once() -> None:
    rollouts.rollback(KEY)
    make_flag("dark_mode")
    rollouts.start("dark_mode", STEPS, starts_at=plan_of().created_at)
    [report] = news(in_threads(*[run_plans] * DRIVERS))
    assert (report.event, rollout("dark_mode")) == ("started", 5)


def test_plan_that_another_driver_has_locked_is_left_to_it() -> None:
    see_enough()
    end_dwell_time()
    with transaction.atomic():
        Plan.objects.select_for_update().get()
        assert in_another_session(run_plans) == []
    assert rollout() == 5


def test_driver_waits_for_a_kill_that_is_not_committed_and_pauses() -> None:
    see_enough()
    end_dwell_time()
    [report] = run_during(lambda: changes.disable(KEY), run_plans)
    assert (report.event, report.state) == ("paused", "paused")
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (False, 5)


def test_flag_that_stays_locked_is_an_error_of_its_plan_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_flag("dark_mode")
    rollouts.start("dark_mode", STEPS)
    see_enough("dark_mode")
    end_dwell_time("dark_mode")
    monkeypatch.setattr(
        "flagstaff.rollouts.driver._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'"
    )
    with transaction.atomic():
        FeatureFlag.objects.select_for_update().get(key=KEY)
        reports = {report.plan: report for report in in_another_session(run_plans)}
    assert reports[KEY].error == "OperationalError"
    assert rollout("dark_mode") == 25


def test_undo_pauses_the_plan() -> None:
    changes.undo(KEY)
    [report] = run_plans()
    assert (report.state, rollout()) == ("paused", 0)


@pytest.mark.parametrize("after", ["end_run", "save", "record", "set_rollout"])
def test_driver_that_is_killed_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    see_enough()
    end_dwell_time()
    owner = {"record": advance, "set_rollout": changes}.get(after, transitions)
    original = getattr(owner, after)

    def killed(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        # As a process that is killed: the server ends the session.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError

    before = Plan.objects.values().get(), [*StepRun.objects.values()], [*PlanEvent.objects.values()]
    version = flag_history(KEY)[0].version
    with monkeypatch.context() as patch:
        patch.setattr(owner, after, killed)
        [report] = in_another_session(run_plans)
    assert report.error in {"OperationalError", "InterfaceError"}
    assert before == (
        Plan.objects.values().get(),
        [*StepRun.objects.values()],
        [*PlanEvent.objects.values()],
    )
    assert (rollout(), flag_history(KEY)[0].version) == (5, version)
    run_plans()
    assert rollout() == 25


def test_driver_that_is_killed_while_it_waits_for_the_workers_loses_only_that_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    see_enough()
    fail(run_of(), inside=True, users=300)

    def killed(timeout: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flagstaff.rollouts.driver.wait_for_workers", killed)
        with pytest.raises(KeyboardInterrupt):
            run_plans()
    assert run_plans() == []
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    assert events()[-1] == "tripped"


def test_driver_does_not_run_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        run_plans()


def test_person_who_pauses_wins_over_a_driver_that_waits() -> None:
    see_enough()
    end_dwell_time()
    with transaction.atomic():
        rollouts.pause(KEY)
        assert in_another_session(run_plans) == []
    assert run_plans() == []
    assert (plan_of().state, rollout()) == (State.PAUSED, 5)


def attempt(work: Callable[[], Any]) -> Callable[[], str]:
    def run() -> str:
        try:
            work()
        except (PlanError, ConflictError) as error:
            return type(error).__name__
        return "done"

    return run


def test_two_people_who_create_a_plan_create_one() -> None:
    make_flag("dark_mode")
    create = attempt(lambda: rollouts.create("dark_mode", STEPS))
    assert sorted(in_threads(create, create)) == ["PlanError", "done"]
    assert Plan.objects.filter(key="dark_mode").count() == 1


def test_two_people_who_start_a_plan_start_it_once() -> None:
    make_flag("dark_mode")
    rollouts.create("dark_mode", STEPS)
    start = attempt(lambda: rollouts.start("dark_mode"))
    assert sorted(in_threads(start, start)) == ["PlanError", "done"]
    assert events("dark_mode") == ["created", "started"]


def test_rollback_and_step_at_once_leave_no_rollout() -> None:
    see_enough()
    end_dwell_time()
    in_threads(run_plans, lambda: rollouts.rollback(KEY))
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_resume_while_another_plan_is_created_is_refused() -> None:
    rollouts.rollback(KEY)

    with pytest.raises(PlanError, match="has a newer rollout plan"):
        run_during(lambda: rollouts.create(KEY, STEPS), lambda: rollouts.resume(KEY))
    assert rollout() == 0


def test_plan_is_deleted_while_a_worker_writes_what_it_counted() -> None:
    run = run_of()
    rollouts.pause(KEY)
    run_during(lambda: fail(run, inside=True, users=3), lambda: rollouts.delete(KEY))
    assert not Plan.objects.exists()
