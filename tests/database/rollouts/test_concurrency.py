"""Several drivers and people at once, each with a connection of its own, and messy guards."""

import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff import changes, rollouts
from flagstaff.exceptions import ConflictError, PlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import driver, evidence, transitions
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, PlanEvent, State, StepRun
from tests.support.concurrency import in_threads, run_during
from tests.support.fixtures import COMMITTED
from tests.support.history import flag_history
from tests.support.plans import (
    KEY,
    STEPS,
    events,
    fail,
    harm,
    make_flag,
    pass_step,
    plan_of,
    rollout,
    run_of,
)
from tests.support.sql import rows

pytestmark = [COMMITTED, pytest.mark.usefixtures("running")]

DRIVERS = 10


@pytest.mark.parametrize(
    ("prepare", "percent", "kinds", "runs"),
    [(pass_step, 25, ["step"], 3), (harm, 0, ["tripped", "propagated"], 2)],
)
def test_ten_drivers_make_a_step_and_trip_once(
    prepare: Callable[[], None], percent: int, kinds: list[str], runs: int
) -> None:
    prepare()
    reports = [report for reports in in_threads(*[run_plans] * DRIVERS) for report in reports]
    assert [report.error for report in reports if report.error] == []
    assert [report.event for report in reports if report.is_news] == kinds[:1]
    assert rollout() == percent
    assert events() == ["created", "started", *kinds]
    assert StepRun.objects.count() == runs


def test_plan_that_another_driver_has_locked_is_left_to_it() -> None:
    pass_step()
    with transaction.atomic():
        Plan.objects.select_for_update().get()
        assert in_threads(run_plans) == [[]]
    assert rollout() == 5


def test_driver_waits_for_a_kill_that_is_not_committed_and_pauses() -> None:
    pass_step()
    [report] = run_during(lambda: changes.flags.disable(KEY), run_plans)
    assert (report.event, report.state) == ("paused", "paused")
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (False, 5)


def test_locked_flag_is_an_error_of_its_plan_only(monkeypatch: pytest.MonkeyPatch) -> None:
    make_flag("dark_mode")
    rollouts.start("dark_mode", STEPS)
    pass_step("dark_mode")
    monkeypatch.setattr(
        "flagstaff.rollouts.driver._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'"
    )
    with transaction.atomic():
        FeatureFlag.objects.select_for_update().get(key=KEY)
        [reports] = in_threads(run_plans)
    assert {report.plan: report.error for report in reports}[KEY] == "OperationalError"
    assert rollout("dark_mode") == 25


def test_change_that_was_taken_back_pauses_the_plan_beside_others() -> None:
    pass_step()
    changes.flags.disable(KEY)
    changes.flags.enable(KEY)
    changes.flags.update(KEY, {"description": "the new checkout"})
    [report] = run_plans()
    assert (report.state, rollout()) == ("paused", 5)
    assert "changed outside of the plan" in report.text


@pytest.mark.parametrize("after", ["end_run", "save", "record", "set_rollout"])
@pytest.mark.one_in(4)
def test_driver_that_is_killed_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    pass_step()
    owner = {"record": driver, "set_rollout": changes.flags}.get(after, transitions)
    original = getattr(owner, after)

    def killed(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        # As a process that is killed: the server ends the session.
        rows("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError

    def stored() -> tuple[Any, ...]:
        plan_row = Plan._base_manager.values().get()
        return plan_row, [*StepRun.objects.values()], [*PlanEvent.objects.values()]

    before, version = stored(), flag_history(KEY)[0].version
    with monkeypatch.context() as patch:
        patch.setattr(owner, after, killed)
        [[report]] = in_threads(run_plans)
    assert report.error in {"OperationalError", "InterfaceError"}
    assert report.is_news
    assert stored() == before
    assert (rollout(), flag_history(KEY)[0].version) == (5, version)
    run_plans()
    assert rollout() == 25


def test_driver_killed_after_a_trip_loses_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    harm()

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


def attempt(work: Callable[[], Any]) -> Callable[[], str]:
    def run() -> str:
        try:
            work()
        except (PlanError, ConflictError) as error:
            return type(error).__name__
        return "done"

    return run


def test_two_people_create_a_plan_once_and_start_it_once() -> None:
    make_flag("dark_mode")
    create = attempt(lambda: rollouts.create("dark_mode", STEPS))
    assert sorted(in_threads(create, create)) == ["PlanError", "done"]
    assert Plan.objects.filter(key="dark_mode").count() == 1
    start = attempt(lambda: rollouts.start("dark_mode"))
    assert sorted(in_threads(start, start)) == ["PlanError", "done"]
    assert events("dark_mode") == ["created", "started"]


def test_rollback_and_step_at_once_leave_no_rollout() -> None:
    pass_step()
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
    assert not any(model.objects.exists() for model in (Plan, StepRun, PlanEvent))
    assert rollout() == 5


# Guards of the project that leave a mess behind.


#: What the guard does, and then it is fine.
act: Callable[[], object] = list


def messy(plan: Plan) -> bool:
    act()
    return True


def resume_and_complain(plan: Plan) -> str:
    rollouts.pause(plan.key)
    changes.flags.set_rollout(plan.key, 7)
    rollouts.resume(plan.key)
    return "few orders"


@pytest.fixture
def guarded() -> None:
    """A second plan, with a guard that leaves a mess."""
    make_flag("guarded")
    rollouts.start("guarded", STEPS, guards=["errors", f"function={__name__}.messy"])


@pytest.mark.parametrize(
    "mess",
    [
        lambda: rows("BEGIN"),
        lambda: transaction.set_autocommit(False),
        lambda: transaction.atomic().__enter__(),
        lambda: sys.exit(3),
    ],
    ids=["BEGIN", "no autocommit", "open block", "exit"],
)
@pytest.mark.one_in(4)
def test_mess_of_a_guard_does_not_keep_other_plans_from_running(
    guarded: None, monkeypatch: pytest.MonkeyPatch, mess: Callable[[], object]
) -> None:
    monkeypatch.setattr(f"{__name__}.act", mess)
    pass_step()
    reports = run_plans()
    connection.close()
    assert [report.error for report in reports] == [None, None]
    assert rollout() == 25


def test_transaction_left_open_does_not_lose_a_trip(
    guarded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.act", lambda: transaction.set_autocommit(False))
    harm("guarded")
    run_plans()
    connection.close()
    assert (plan_of("guarded").state, rollout("guarded")) == (State.ROLLED_BACK, 0)


def test_guard_that_does_not_return_holds_its_plan_only(
    guarded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Event()
    monkeypatch.setattr(f"{__name__}.act", released.wait)
    monkeypatch.setattr(evidence, "MAX_SECONDS", 0.05)
    pass_step()
    try:
        run_plans()
        assert rollout() == 25
        reason = f"{__name__}.messy did not return within 0.05 s; make it faster"
        assert plan_of("guarded").reason == reason
    finally:
        released.set()


def test_result_of_a_guard_is_not_used_for_another_run() -> None:
    make_flag("new_search")
    rollouts.start("new_search", STEPS, guards=[f"function={__name__}.resume_and_complain"])
    assert "new_search" not in [report.plan for report in run_plans()]
    assert (plan_of("new_search").state, rollout("new_search")) == (State.RUNNING, 5)
