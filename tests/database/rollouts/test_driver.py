"""The driver: steps, holds, trips, and what it never does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction

from flagstaff import acting_as, changes, rollouts
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import advance
from flagstaff.rollouts.clock import ClockTimestamp, database_now
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import (
    DriverRun,
    Plan,
    PlanEvent,
    SeenRegister,
    SignalCount,
    SignalWorker,
    State,
    StepRun,
)
from flagstaff.rollouts.reports import PlanReport
from flagstaff.rollouts.unguarded import unguarded_plans
from tests.support.rollouts import (
    KEY,
    add_worker,
    drive_recently,
    end_dwell_time,
    events,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see,
    see_enough,
)

pytestmark = pytest.mark.django_db

STEPS = ["5:1h", "25:1h", "100:1h"]
RULES = [{"name": "all", "conditions": [], "rollout_percent": 100}]
MODULE = "tests.database.rollouts.test_driver"

#: What the callable guard of these tests returns or raises.
returned: Any = True


def orders_fine(plan: Plan) -> object:
    if isinstance(returned, Exception):
        raise returned
    return returned


@pytest.fixture(autouse=True)
def driver(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drive_recently()
    monkeypatch.setattr(f"{MODULE}.returned", True)


@pytest.fixture
def started() -> None:
    make_flag()
    rollouts.start(KEY, STEPS)


def start(*guards: str, **fields: Any) -> None:
    make_flag(**fields)
    rollouts.start(KEY, STEPS, guards=guards or ("errors",))


def run() -> PlanReport | None:
    """Runs the driver once, and returns its report of the plan."""
    reports = run_plans()
    assert [report.error for report in reports] == [None] * len(reports)
    return reports[0] if reports else None


def harm() -> None:
    """Writes that many users inside fail, and few outside."""
    see_enough()
    fail(run_of(), inside=True, users=300)
    fail(run_of(), inside=False, users=20)


def token() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM flagstaff_token")
        return int(cursor.fetchone()[0])


def last_event() -> PlanEvent:
    return PlanEvent.objects.latest("id")


def test_run_records_that_the_driver_runs() -> None:
    drive_recently(hours=1)
    assert run_plans() == []
    assert database_now() - DriverRun.objects.get().last_run_at < timedelta(minutes=1)
    assert DriverRun.objects.get().pk == 1


def test_step_waits_for_its_dwell_time(started: None) -> None:
    see_enough()
    report = run()
    assert report is not None
    assert (report.state, report.step, report.percent, report.is_news) == ("running", 1, 5, False)
    assert rollout() == 5


def test_step_that_is_due_and_passes_is_followed_by_the_next(started: None) -> None:
    see_enough()
    first = run_of()
    end_dwell_time()
    report = run()
    assert report is not None
    assert (report.event, report.state, report.step, rollout()) == ("step", "running", 2, 25)
    plan = plan_of()
    new = StepRun.objects.get(pk=run_of())
    assert (new.step, new.percent, StepRun.objects.get(pk=first).ended_at) == (
        1,
        25,
        new.started_at,
    )
    assert plan.due_at == new.started_at + timedelta(hours=1)
    assert last_event().figures["users_inside"] == pytest.approx(1200, rel=0.05)


def test_step_is_attributed_to_the_plan(started: None) -> None:
    see_enough()
    end_dwell_time()
    run()
    [event, *_] = flag_history(KEY)
    assert (event.actor, event.source) == ("rollout plan", "plan")
    assert event.reason is not None
    assert event.reason.startswith("step 2 of 3: rollout 5 → 25 %; ")
    assert plan_of().flag_version == event.version
    assert last_event().actor == "rollout plan"


def test_late_run_makes_one_step_whose_dwell_time_starts_anew(started: None) -> None:
    see_enough()
    Plan.objects.update(due_at=ClockTimestamp() - timedelta(days=30))
    run()
    see_enough()
    report = run()
    assert report is not None
    assert (report.event, rollout()) == (None, 25)
    due_at = plan_of().due_at
    assert due_at is not None
    assert due_at - database_now() > timedelta(minutes=59)


def test_plan_is_done_after_its_last_step(started: None) -> None:
    rollouts.jump(KEY, 100)
    end_dwell_time()
    report = run()
    assert report is not None
    assert (report.event, rollout()) == ("done", 100)
    plan = plan_of()
    assert (plan.state, plan.run_id, plan.guarded_until) == (State.DONE, None, None)
    assert plan.ended_at is not None
    assert run() is None


def test_missing_data_is_never_a_pass(started: None) -> None:
    end_dwell_time()
    report = run()
    assert report is not None
    assert (report.event, report.state, rollout()) == ("held", "holding", 5)
    assert report.text == "waits for data: no user inside has been seen yet"
    assert plan_of().reason == report.text


def test_too_few_users_hold_the_plan(started: None) -> None:
    see(run_of(), inside=True, users=100)
    see(run_of(), inside=False, users=2000)
    end_dwell_time()
    run()
    assert plan_of().state == State.HOLDING
    assert plan_of().reason.startswith("waits for users")


def test_hold_ends_by_itself(started: None) -> None:
    end_dwell_time()
    run()
    see_enough()
    report = run()
    assert report is not None
    assert (report.event, report.state, rollout()) == ("step", "running", 25)
    assert plan_of().reason == ""


def test_lost_worker_holds_the_plan(started: None) -> None:
    see_enough()
    add_worker(last_seen=timedelta(seconds=3.2))
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    end_dwell_time()
    run()
    assert (plan_of().state, rollout()) == (State.HOLDING, 5)
    assert last_event().figures["lost_workers"] == 1


def test_worker_that_does_not_return_lets_the_step_begin_anew(started: None) -> None:
    see_enough()
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    add_worker(last_seen=timedelta(minutes=11))
    add_worker(last_seen=timedelta(minutes=9, seconds=50), worker="web-2")
    end_dwell_time()
    run()
    assert plan_of().state == State.HOLDING
    add_worker(last_seen=timedelta(minutes=9), worker="web-3", stopped=True)
    SignalWorker.objects.filter(worker="web-2").update(
        last_seen_at=ClockTimestamp() - timedelta(minutes=11)
    )
    before = run_of()
    report = run()
    assert report is not None
    assert (report.event, report.state, report.step, rollout()) == ("continued", "running", 1, 5)
    assert run_of() != before
    see_enough()
    end_dwell_time()
    run()
    assert rollout() == 25


def test_lost_worker_does_not_matter_at_100_percent(started: None) -> None:
    rollouts.jump(KEY, 100)
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    add_worker(last_seen=timedelta(minutes=11))
    before = run_of()
    run()
    assert run_of() == before
    end_dwell_time()
    run()
    assert plan_of().state == State.DONE


def test_counts_without_memory_let_the_step_begin_anew_at_its_end(started: None) -> None:
    see_enough()
    before = run_of()
    SignalCount.objects.create(run_id=before, inside=False, kind="d", count=3)
    run()
    assert run_of() == before
    end_dwell_time()
    report = run()
    assert report is not None
    assert (report.event, report.step, rollout()) == ("continued", 1, 5)
    assert "no memory left for all counts, so the evidence was incomplete" in report.text
    assert run_of() != before


def test_counts_without_memory_do_not_keep_a_guard_from_tripping(started: None) -> None:
    harm()
    SignalCount.objects.create(run_id=run_of(), inside=False, kind="d", count=3)
    end_dwell_time()
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_lost_worker_does_not_keep_a_guard_from_tripping(started: None) -> None:
    harm()
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    add_worker(last_seen=timedelta(minutes=11))
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


@pytest.mark.parametrize(
    ("last_seen", "stopped"),
    [
        (timedelta(seconds=3.2), True),
        (timedelta(seconds=2), False),
        (timedelta(hours=2), False),
    ],
    ids=["stopped cleanly", "still reporting", "lost before this step"],
)
def test_worker_that_lost_nothing_of_the_step_does_not_hold_it(
    started: None, last_seen: timedelta, stopped: bool
) -> None:
    see_enough()
    add_worker(last_seen=last_seen, stopped=stopped)
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    end_dwell_time()
    run()
    assert rollout() == 25


def test_trip_sets_no_rollout_and_says_why(started: None) -> None:
    harm()
    report = run()
    assert report is not None
    assert (report.event, report.state, rollout()) == ("tripped", "rolled_back", 0)
    plan = plan_of()
    assert plan.reason.startswith("rolled back by errors: ")
    assert (plan.run_id, plan.due_at, plan.guarded_until) == (None, None, None)
    assert plan.ended_at is not None
    assert flag_history(KEY)[0].reason == plan.reason
    tripped, propagated = [*PlanEvent.objects.order_by("id")][-2:]
    assert (tripped.kind, propagated.kind) == ("tripped", "propagated")
    assert propagated.text == "evaluations query the database, so the trip is in effect at once"
    assert tripped.figures["guards"][0]["failed"] == {"inside": 300, "outside": 20}


def test_failing_users_inside_and_none_outside_trip_the_brake(started: None) -> None:
    see_enough()
    fail(run_of(), inside=True, users=30)
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    assert plan_of().reason.startswith("rolled back by brake: ")


def test_trip_disables_a_flag_that_a_rule_can_grant() -> None:
    start(rules=RULES)
    harm()
    run()
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (False, 0)
    assert plan_of().state == State.ROLLED_BACK


def test_trip_is_not_undone_by_a_late_run(started: None) -> None:
    harm()
    end_dwell_time()
    late = plan_of()
    run()
    for _ in range(3):
        assert run_plans() == []
    assert (plan_of().state, rollout(), events()[-1]) == (State.ROLLED_BACK, 0, "propagated")
    # A driver that has read the plan before the trip.
    from flagstaff.rollouts.driver import _in_transaction

    assert _in_transaction(late, ()) is None
    assert rollout() == 0


def test_trip_needs_no_triggers_of_the_history(started: None) -> None:
    harm()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_step_needs_the_triggers_of_the_history(started: None) -> None:
    see_enough()
    end_dwell_time()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    [report] = run_plans()
    assert report.error is not None
    assert "the history does not record" in report.error
    assert (plan_of().state, rollout()) == (State.RUNNING, 5)


def test_guard_that_holds_stops_the_steps_and_not_the_rollout() -> None:
    start("errors,action=hold")
    harm()
    end_dwell_time()
    run()
    assert (plan_of().state, rollout()) == (State.HOLDING, 5)


def test_callable_guard_trips_with_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    start(f"call={MODULE}.orders_fine")
    monkeypatch.setattr(f"{MODULE}.returned", "3 orders a minute")
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    assert plan_of().reason == (f"rolled back by {MODULE}.orders_fine: 3 orders a minute")


def test_callable_guard_that_raises_holds_until_it_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(f"call={MODULE}.orders_fine")
    see_enough()
    monkeypatch.setattr(f"{MODULE}.returned", ValueError("hunter2"))
    run()
    assert plan_of().reason == f"{MODULE}.orders_fine raised ValueError; repair it"
    monkeypatch.setattr(f"{MODULE}.returned", True)
    report = run()
    assert report is not None
    assert (report.event, report.state) == ("continued", "running")
    end_dwell_time()
    run()
    assert rollout() == 25


def test_callable_guard_trips_at_all_users(monkeypatch: pytest.MonkeyPatch) -> None:
    start("errors", f"call={MODULE}.orders_fine")
    rollouts.jump(KEY, 100)
    monkeypatch.setattr(f"{MODULE}.returned", False)
    run()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def kill() -> None:
    changes.disable(KEY)


def edit() -> None:
    changes.set_rollout(KEY, 60)


def change_by_sql() -> None:
    FeatureFlag.objects.update(rollout_percent=60)


def add_user() -> None:
    changes.add_allowed_users(KEY, [User.objects.create_user("bo")])


@pytest.mark.parametrize("change", [kill, edit, change_by_sql, add_user])
def test_change_by_somebody_else_pauses_the_plan(started: None, change: Any) -> None:
    see_enough()
    end_dwell_time()
    ana = User.objects.create_user("ana")
    with acting_as(ana):
        change()
    before = FeatureFlag.objects.values().get()
    report = run()
    assert report is not None
    assert (report.event, report.state) == ("paused", "paused")
    assert report.text.startswith("ana changed the flag: ")
    assert FeatureFlag.objects.values().get() == before
    assert run() is None


def test_change_by_somebody_else_comes_before_a_trip(started: None) -> None:
    harm()
    edit()
    run()
    assert (plan_of().state, rollout()) == (State.PAUSED, 60)


def test_deleted_flag_pauses_the_plan(started: None) -> None:
    changes.delete(KEY)
    run()
    assert (plan_of().state, plan_of().reason) == (State.PAUSED, "the flag was deleted")


def test_renamed_flag_pauses_the_plan(started: None) -> None:
    changes.update(KEY, {"key": "checkout"})
    report = run()
    assert report is not None
    assert (report.state, report.text) == (State.PAUSED, "the flag was renamed to checkout")
    assert rollout("checkout") == 5


def test_times_are_those_of_the_database(started: None, monkeypatch: pytest.MonkeyPatch) -> None:
    later = database_now() + timedelta(hours=2)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    see_enough()
    run()
    assert events() == ["created", "started"]
    end_dwell_time()
    run()
    assert events() == ["created", "started", "step"]
    plan = plan_of()
    assert plan.due_at is not None
    assert plan.guarded_until is not None
    assert plan.guarded_until < plan.due_at < later
    assert StepRun.objects.latest("id").started_at < later - timedelta(hours=1)


def test_clock_goes_on_during_a_transaction() -> None:
    plans = DriverRun.objects.annotate(at=ClockTimestamp()).values_list("at", flat=True)
    drive_recently()
    with transaction.atomic():
        assert plans.get() < plans.get() < database_now()


def test_flag_that_was_created_again_pauses_the_plan(started: None) -> None:
    FeatureFlag.objects.all().delete()
    make_flag()
    run()
    assert (plan_of().state, rollout()) == (State.PAUSED, 0)


@pytest.mark.parametrize("stop", [rollouts.pause, rollouts.rollback])
def test_plan_that_a_person_stopped_needs_a_person(started: None, stop: Any) -> None:
    see_enough()
    end_dwell_time()
    stop(KEY)
    before = rollout()
    assert run_plans() == []
    assert rollout() == before


def test_pending_plan_without_a_time_is_left_alone() -> None:
    make_flag()
    rollouts.create(KEY, STEPS)
    assert run_plans() == []


def schedule(delta: timedelta, **fields: Any) -> None:
    make_flag(**fields)
    rollouts.start(KEY, STEPS, starts_at=database_now() + delta)


def test_scheduled_plan_starts_at_its_time() -> None:
    schedule(timedelta(hours=1))
    assert run_plans() == []
    Plan.objects.update(starts_at=ClockTimestamp())
    report = run()
    assert report is not None
    assert (report.event, report.state, rollout()) == ("started", "running", 5)


def test_scheduled_plan_of_a_disabled_flag_is_paused() -> None:
    schedule(-timedelta(hours=1), enabled=False)
    report = run()
    assert report is not None
    assert (report.state, rollout()) == ("paused", 0)
    assert report.text.startswith("not started, the flag is disabled; enable it")


def test_scheduled_plan_of_a_changed_flag_is_paused() -> None:
    schedule(timedelta(hours=1))
    with acting_as("ana"):
        changes.set_rollout(KEY, 1)
    Plan.objects.update(starts_at=ClockTimestamp())
    run()
    assert plan_of().reason == ("not started, ana changed the flag: rollout_percent 0 → 1")


def test_run_without_news_writes_no_token(started: None) -> None:
    before = token()
    run()
    assert token() == before


@pytest.mark.parametrize(
    ("left", "is_written"), [(timedelta(minutes=4, seconds=30), False), (timedelta(0), True)]
)
def test_time_until_which_the_plan_is_guarded_is_written_if_little_is_left(
    started: None, left: timedelta, is_written: bool
) -> None:
    Plan.objects.update(guarded_until=ClockTimestamp() + left)
    before = plan_of().guarded_until
    run()
    assert (plan_of().guarded_until != before) is is_written


def test_reason_of_a_hold_is_not_written_again_for_its_figures(started: None) -> None:
    see(run_of(), inside=False, users=2000)
    see(run_of(), inside=True, users=100)
    end_dwell_time()
    run()
    before = token()
    SeenRegister.objects.filter(inside=True, register__lt=2000).delete()
    report = run()
    assert report is not None
    assert (token(), report.is_news) == (before, False)
    Plan.objects.update(guarded_until=ClockTimestamp())
    run()
    assert plan_of().reason == report.text
    assert events()[-1:] == ["held"]


def test_plan_is_unguarded_five_minutes_after_the_last_run(started: None) -> None:
    assert unguarded_plans() == []
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(seconds=1))
    assert [plan.key for plan in unguarded_plans()] == [KEY]
    run()
    assert unguarded_plans() == []


def test_plan_that_is_not_running_is_never_unguarded(started: None) -> None:
    rollouts.pause(KEY)
    assert unguarded_plans() == []


@pytest.mark.parametrize(
    "broken",
    [
        {"steps": []},
        {"steps": "no list"},
        {"step": 99},
        {"guards": [{"kind": 1, "x": 2}]},
        {"guards": [{"kind": "errors", "limit": "2"}]},
        {"run_id": 0},
    ],
)
def test_broken_plan_does_not_keep_others_from_running(
    started: None, broken: dict[str, object]
) -> None:
    make_flag("dark_mode")
    rollouts.start("dark_mode", STEPS)
    see_enough("dark_mode")
    end_dwell_time("dark_mode")
    Plan.objects.filter(key=KEY).update(**broken)
    reports = {report.plan: report for report in run_plans()}
    assert reports[KEY].error is not None
    assert (reports["dark_mode"].event, rollout("dark_mode")) == ("step", 25)


def test_error_of_a_broken_plan_says_what_to_do(started: None) -> None:
    Plan.objects.update(steps="no list")
    [report] = run_plans()
    assert report.error == (
        "the steps that the plan has stored cannot be read; create the plan again"
    )


def test_failed_write_leaves_nothing_half_done(
    started: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_enough()
    end_dwell_time()

    def killed(*arguments: object) -> None:
        raise OperationalError("hunter2")

    before = Plan.objects.values().get()
    with monkeypatch.context() as patch:
        patch.setattr(advance, "record", killed)
        [report] = run_plans()
    assert (report.error, report.is_news) == ("OperationalError", True)
    assert (Plan.objects.values().get(), rollout()) == (before, 5)
    run()
    assert rollout() == 25
