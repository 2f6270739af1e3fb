"""The driver: steps, holds, trips, and what it never does."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import transaction

from flagstaff import acting_as, changes, rollouts
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import _advance, run_plans
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.models import (
    GUARDED_FOR,
    ClockTimestamp,
    DriverRun,
    FailedUnit,
    Plan,
    PlanEvent,
    SeenRegister,
    SignalCount,
    State,
    StepRun,
    database_now,
)
from flagstaff.rollouts.steps_and_guards import GuardCounts, Tenth
from tests.support.guards import ORDERS_FINE, RETURNED
from tests.support.history import flag_history
from tests.support.plans import (
    KEY,
    RULES,
    STEPS,
    add_worker,
    drive_recently,
    end_dwell_time,
    events,
    fail,
    go_to,
    harm,
    make_flag,
    pass_step,
    plan_of,
    rollout,
    run_of,
    run_plan,
    see,
    see_enough,
)
from tests.support.reports import age_workers
from tests.support.shop import Shop
from tests.support.sql import Tokens, rows

#: Why the plan of a changed flag is paused.
CHANGED = "the flag was changed outside of the plan, as its history shows"
GONE = "the flag was deleted or renamed"


def test_run_records_that_the_driver_runs() -> None:
    drive_recently(hours=1)
    assert run_plans() == []
    assert database_now() - DriverRun.objects.get().last_run_at < timedelta(minutes=1)
    assert DriverRun.objects.get().pk == 1


def test_step_waits_for_its_dwell_time_without_a_token(running: Plan) -> None:
    see_enough()
    tokens = Tokens()
    report = run_plan()
    assert (report.state, report.is_news) == ("running", False)
    assert (rollout(), tokens()) == (5, [])


def test_step_that_is_due_and_passes_is_followed_by_one_other(running: Plan) -> None:
    see_enough()
    first = run_of()
    Plan.objects.update(due_at=ClockTimestamp() - timedelta(days=30))
    report = run_plan()
    assert (report.event, report.state, rollout()) == ("step", "running", 25)
    plan, new = plan_of(), StepRun.objects.get(pk=run_of())
    assert (new.step, new.percent) == (1, 25)
    assert StepRun.objects.get(pk=first).ended_at == new.started_at
    # However late the run is, the dwell time starts then.
    assert plan.due_at == new.started_at + timedelta(hours=1)
    assert PlanEvent.objects.latest("id").figures["users_inside"] == pytest.approx(1200, rel=0.05)
    assert PlanEvent.objects.latest("id").actor == "rollout plan"
    [event, *_] = flag_history(KEY)
    assert (event.actor, event.source) == ("rollout plan", "plan")
    assert (event.reason or "").startswith("step 2 of 3: rollout 5 → 25 %; ")
    assert plan.flag_version == event.version
    see_enough()
    assert (run_plan().event, rollout()) == (None, 25)


def test_plan_is_done_after_its_last_step_even_with_a_lost_worker(running: Plan) -> None:
    go_to(100)
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    add_worker(last_seen=timedelta(minutes=11))
    before = run_of()
    run_plan()
    assert run_of() == before
    end_dwell_time()
    report = run_plan()
    assert (report.event, rollout()) == ("done", 100)
    plan = plan_of()
    assert (plan.state, plan.run_id, plan.guarded_until) == (State.DONE, None, None)
    assert plan.ended_at is not None
    assert run_plans() == []


def test_missing_data_holds_the_plan_until_there_is_enough(running: Plan) -> None:
    end_dwell_time()
    report = run_plan()
    assert (report.event, report.state, rollout()) == ("held", "holding", 5)
    assert report.text == "waits for data: no request or task of a user with the flag has ended yet"
    assert plan_of().reason == report.text
    see_enough()
    report = run_plan()
    assert (report.event, report.state, rollout()) == ("step", "running", 25)
    assert plan_of().reason == ""


@pytest.mark.parametrize(("users", "state"), [(4_000, "running"), (8_000, "holding")])
def test_plan_holds_while_more_than_half_of_its_users_are_left_out(
    running: Plan, users: int, state: str
) -> None:
    pass_step()
    # 2,000 of them count in another worker, and 3,200 users count in all.
    see(run_of(), inside=False, users=users, left_out=True)
    report = run_plan()
    assert report.state == state
    assert ("users were left out, because others" in report.text) == (state == "holding")
    assert PlanEvent.objects.latest("id").figures["left_out"] == pytest.approx(
        users - 2_000, rel=0.05
    )


def test_failing_user_who_was_left_out_does_not_trip_a_guard(running: Plan) -> None:
    harm()
    FailedUnit.objects.filter(inside=True).update(is_counted=False)
    end_dwell_time()
    report = run_plan()
    assert report.state == "holding"
    assert "300 of 320 users were left out" in report.text


def test_numbers_of_a_reason_and_of_an_event_are_stored_without_separators(
    running: Plan,
) -> None:
    Plan.objects.update(required_users=56_789)
    pass_step()
    run_plan()
    for text in (PlanEvent.objects.latest("id").message, plan_of().reason):
        assert "of 56789 users with the flag seen" in text
    # The reason is written now and then.
    run_plan()
    assert "of 56789 users" in plan_of().reason


def test_trip_is_stored_with_numbers_without_separators(running: Plan) -> None:
    harm()
    run_plan()
    event = PlanEvent.objects.filter(kind="tripped").latest("id")
    plan = plan_of()
    [entry, *_older] = flag_history(KEY)
    for text in (event.message, plan.trip_reason, plan.reason, entry.reason):
        assert text is not None
        assert re.search(r"300 of 1\d\d\d users with the flag failed, 20 of \d{4} without", text)


def test_worker_that_does_not_return_lets_the_step_start_again(running: Plan) -> None:
    see_enough()
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    add_worker(last_seen=timedelta(minutes=11))
    add_worker(last_seen=timedelta(minutes=9, seconds=50), pid=2)
    end_dwell_time()
    run_plan()
    assert plan_of().state == State.HOLDING
    assert PlanEvent.objects.latest("id").figures["lost_workers"] == 2
    add_worker(last_seen=timedelta(minutes=9), pid=3, stopped=True)
    age_workers(60, pid=2)
    before = run_of()
    report = run_plan()
    assert (report.event, report.state, rollout()) == ("continued", "running", 5)
    assert run_of() != before
    pass_step()
    run_plan()
    assert rollout() == 25


def test_counts_without_memory_let_the_step_start_again_at_its_end(running: Plan) -> None:
    see_enough()
    before = run_of()
    SignalCount.objects.create(run_id=before, inside=False, kind="d", count=3)
    run_plan()
    assert run_of() == before
    end_dwell_time()
    report = run_plan()
    assert (report.event, rollout()) == ("continued", 5)
    assert "no memory left for all counts, so the counts were incomplete" in report.text
    assert run_of() != before


@pytest.mark.parametrize(
    ("last_seen", "stopped", "expected"),
    [(13, False, 5), (13, True, 25), (2, False, 25), (7200, False, 25)],
    ids=["lost", "stopped cleanly", "still reporting", "lost before this step"],
)
def test_worker_that_was_lost_in_the_step_holds_it(
    running: Plan, last_seen: float, stopped: bool, expected: int
) -> None:
    see_enough()
    add_worker(last_seen=timedelta(seconds=last_seen), stopped=stopped)
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=1))
    end_dwell_time()
    run_plan()
    assert rollout() == expected
    assert (plan_of().state == State.HOLDING) == (expected == 5)


def test_trip_sets_no_rollout_says_why_and_is_not_undone(running: Plan) -> None:
    harm()
    end_dwell_time()
    late = plan_of()
    report = run_plan()
    assert (report.event, report.state, rollout()) == ("tripped", "rolled_back", 0)
    plan = plan_of()
    assert plan.reason.startswith("rolled back: errors: ")
    assert (plan.run_id, plan.due_at, plan.guarded_until) == (None, None, None)
    assert plan.ended_at is not None
    assert flag_history(KEY)[0].reason == plan.reason
    tripped, propagated = [*PlanEvent.objects.order_by("id")][-2:]
    assert (tripped.kind, propagated.kind) == ("tripped", "propagated")
    assert propagated.message == (
        "Evaluations query the database, so the change is in effect at once."
    )
    failed = tripped.figures["guards"][0]["failed"]
    assert (failed["inside"], failed["outside"]) == (300, 20)
    for _ in range(3):
        assert run_plans() == []
    # A driver that has read the plan before the trip.
    assert _advance(late, calls_functions=True) is None
    assert (plan_of().state, rollout(), events()[-1]) == (State.ROLLED_BACK, 0, "propagated")


def test_trip_needs_no_triggers_of_the_history_and_a_step_does(running: Plan) -> None:
    pass_step()
    rows("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    [report] = run_plans()
    assert "the history does not record" in (report.error or "")
    assert (plan_of().state, rollout()) == (State.RUNNING, 5)
    fail(run_of(), inside=True, users=300)
    run_plan()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_function_guard_that_raises_holds_until_it_returns(
    shop: Shop, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.plan(KEY, guards=[f"function={ORDERS_FINE}"])
    see_enough()
    monkeypatch.setattr(RETURNED, ValueError("hunter2"))
    run_plan()
    assert plan_of().reason == f"{ORDERS_FINE} raised ValueError; repair it"
    monkeypatch.setattr(RETURNED, True)
    report = run_plan()
    assert (report.event, report.state) == ("continued", "running")
    end_dwell_time()
    run_plan()
    assert rollout() == 25


def test_function_guard_trips_at_all_users(
    shop: Shop, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.plan(KEY, guards=["errors", f"function={ORDERS_FINE}"])
    go_to(100)
    monkeypatch.setattr(RETURNED, "3 orders a minute")
    run_plan()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    assert plan_of().reason == f"rolled back: {ORDERS_FINE}: 3 orders a minute"


def without_entry(change: Callable[[], Any]) -> Any:
    """Makes a change that leaves no entry in the history."""
    rows("SET LOCAL session_replication_role = 'replica'")
    changed = change()
    rows("SET LOCAL session_replication_role = 'origin'")
    return changed


def update_without_entry(**fields: Any) -> None:
    without_entry(lambda: FeatureFlag.objects.update(**fields))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda: changes.flags.disable(KEY), CHANGED, id="kill"),
        pytest.param(lambda: changes.flags.set_rollout(KEY, 60), CHANGED, id="edit"),
        pytest.param(lambda: FeatureFlag.objects.update(rollout_percent=60), CHANGED, id="SQL"),
        pytest.param(lambda: changes.flags.allow(KEY, [1]), CHANGED, id="allowed user"),
        pytest.param(lambda: update_without_entry(rollout_percent=0), CHANGED, id="rollout"),
        pytest.param(lambda: update_without_entry(enabled=False), CHANGED, id="state"),
        pytest.param(lambda: update_without_entry(bucket_by="visitor"), CHANGED, id="unit"),
        pytest.param(lambda: update_without_entry(rules=RULES), CHANGED, id="rules"),
        pytest.param(lambda: changes.flags.delete(KEY), GONE, id="deleted"),
        pytest.param(lambda: changes.flags.update(KEY, {"key": "one"}), GONE, id="renamed"),
        pytest.param(
            lambda: (FeatureFlag.objects.all().delete(), make_flag()), GONE, id="created again"
        ),
    ],
)
@pytest.mark.one_in(4)
def test_change_by_somebody_else_pauses_the_plan(
    shop: Shop, running: Plan, change: Any, why: str
) -> None:
    pass_step()
    with acting_as(shop.user("alice")):
        change()
    before = [*FeatureFlag.objects.values()]
    report = run_plan()
    assert (report.event, report.state, report.text) == ("paused", "paused", why)
    assert plan_of().reason == why
    assert [*FeatureFlag.objects.values()] == before
    assert run_plans() == []


def test_plan_accepts_what_it_writes_without_an_entry(running: Plan) -> None:
    for percent in (25, 100):
        pass_step()
        assert (without_entry(run_plan).event, rollout()) == ("step", percent)
    assert run_plan().event is None


def test_change_that_cannot_change_who_has_the_flag_is_taken_over(running: Plan) -> None:
    for fields in (
        {"description": "the new checkout", "kind": "ops"},
        {"owner": "ana", "tags": ["web"], "review_on": date(2027, 1, 1), "client_side": True},
    ):
        changes.flags.update(KEY, fields)
    run_plan()
    assert plan_of().flag_version == flag_version(KEY)
    pass_step()
    assert (run_plan().state, rollout()) == (State.RUNNING, 25)


def test_change_by_somebody_else_comes_before_a_trip(running: Plan) -> None:
    harm()
    changes.flags.set_rollout(KEY, 60)
    run_plan()
    assert (plan_of().state, rollout(), plan_of().trip_run_id) == (State.PAUSED, 60, None)
    assert "; so it was not rolled back, although harm was found: errors: " in plan_of().reason


def test_times_are_those_of_the_database(running: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    later = database_now() + timedelta(hours=2)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    see_enough()
    run_plan()
    assert events() == ["created", "started"]
    end_dwell_time()
    run_plan()
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


@pytest.mark.parametrize(("minutes", "is_written"), [(4.5, False), (0, True), (9_999, True)])
def test_guarded_until_is_written_if_little_or_too_much_is_left(
    running: Plan, minutes: float, is_written: bool
) -> None:
    Plan.objects.update(guarded_until=ClockTimestamp() + timedelta(minutes=minutes))
    before = plan_of().guarded_until
    run_plan()
    until = plan_of().guarded_until
    assert (until != before) is is_written
    assert until is not None
    assert until <= database_now() + GUARDED_FOR


def test_reason_of_a_hold_is_not_written_again_for_its_figures(running: Plan) -> None:
    see(run_of(), inside=False, users=2000)
    see(run_of(), inside=True, users=100)
    end_dwell_time()
    run_plan()
    tokens = Tokens()
    SeenRegister.objects.filter(inside=True, register__lt=2000).delete()
    report = run_plan()
    assert (tokens(), report.is_news) == ([], False)
    Plan.objects.update(guarded_until=ClockTimestamp())
    run_plan()
    assert plan_of().reason == report.text
    assert events()[-1:] == ["held"]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"steps": []}, "the plan cannot be read: the plan has no steps; add one such as"),
        ({"guards": 5}, "the plan cannot be read: its steps and guards are not two lists of texts"),
        ({"run_id": 0}, "DoesNotExist"),
    ],
)
def test_broken_plan_does_not_keep_others_from_running(
    running: Plan, broken: Any, error: str
) -> None:
    make_flag("dark_mode")
    rollouts.start("dark_mode", STEPS)
    pass_step("dark_mode")
    Plan.objects.filter(key=KEY).update(**broken)
    reports = {report.plan: report for report in run_plans()}
    assert (reports[KEY].error or "").startswith(error)
    assert (reports["dark_mode"].event, rollout("dark_mode")) == ("step", 25)


def test_evidence_keeps_both_sides_apart_and_counts_visitors_by_their_cookies(
    running: Plan,
) -> None:
    run = StepRun.objects.get(pk=run_of())
    for inside, count in ((True, 3), (False, 70)):
        SignalCount.objects.create(run=run, inside=inside, kind="r", count=count)
        for kind, tenth, at_risk in (("a", 0, count), ("a", 4, 2), ("f", 4, 1)):
            SignalCount.objects.create(
                run=run, inside=inside, kind=kind, tenth=tenth, count=at_risk
            )
    # A user, a visitor with an old cookie and one with a new cookie.
    for unit, is_new in enumerate((None, False, True)):
        FailedUnit.objects.create(
            run=run, guard=0, inside=True, unit=unit, is_new=is_new, tenth=4 if is_new else 0
        )
    evidence = read_evidence(run, database_now())
    assert evidence.requests == (70, 3)
    tenths = {
        0: Tenth(users=(0, 2), at_risk=(70, 3)),
        4: Tenth(users=(0, 1), at_risk=(2, 2), failed=(1, 1)),
    }
    assert evidence.failed == {0: GuardCounts(3, 0, visitors=2, new_visitors=1, tenths=tenths)}


def test_run_notes_the_tenth_of_its_dwell_time_without_pauses(running: Plan) -> None:
    def tenth_after(**ago: float) -> int:
        due_at = ClockTimestamp() + timedelta(hours=1) - timedelta(**ago)
        Plan.objects.update(due_at=due_at)
        run_plan()
        return StepRun.objects.get(pk=run_of()).tenth

    assert tenth_after(minutes=5) == 0
    assert tenth_after(minutes=31) == 5
    rollouts.pause(KEY)
    Plan.objects.update(seconds_left=26 * 60)
    rollouts.resume(KEY)
    run_plan()
    assert StepRun.objects.get(pk=run_of()).tenth == 5
    # A step that holds has further ones.
    assert tenth_after(minutes=63) == 10
    assert tenth_after(days=9) == 109


def test_fault_that_begins_late_in_a_step_trips(running: Plan) -> None:
    see_enough()
    for tenth, inside, outside in ((0, 300, 500), (9, 5, 8)):
        fail(run_of(), inside=True, users=inside, tenth=tenth)
        fail(run_of(), inside=False, users=outside, tenth=tenth)
    assert run_plan().event is None
    fail(run_of(), inside=True, users=60, tenth=10)
    assert (run_plan().event, rollout()) == ("tripped", 0)
