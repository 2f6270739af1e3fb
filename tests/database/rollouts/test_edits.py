"""Plans that are edited, and the 5 % of plans whose steps start again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flagstaff import acting_as, changes, rollouts
from flagstaff.exceptions import ConflictError, InvalidPlanError, PlanError, UnknownPlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.alpha import PLAN_ALPHA
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.editing import version_of_plan
from flagstaff.rollouts.models import FailedUnit, Plan, PlanEvent, State, StepRun
from flagstaff.rollouts.status import plan_record
from tests.support.concurrency import run_during
from tests.support.fixtures import COMMITTED
from tests.support.history import flag_history
from tests.support.rollouts import (
    KEY,
    STEPS,
    drive_recently,
    end_dwell_time,
    events,
    harm,
    pass_step,
    plan_of,
    rollout,
    run_of,
    see_enough,
)

pytestmark = pytest.mark.django_db

TIGHTER = ["errors,limit=1.5"]


@pytest.fixture
def started(flag: FeatureFlag) -> Plan:
    return rollouts.start(KEY, STEPS)


def orders_fine(plan: Plan) -> object:
    return returned


#: What the guard of these tests returns.
returned: Any = True


def given() -> list[Any]:
    """What the runs of the plan were given, oldest first."""
    runs = StepRun.objects.filter(plan=plan_of()).exclude(step=None).order_by("id")
    return [*runs.values_list("guards_alpha", "brake_alpha")]


def test_edited_pending_plan_has_an_event_from_old_to_new(flag: FeatureFlag) -> None:
    before = rollouts.create(KEY, STEPS)
    with acting_as("ana"):
        found = rollouts.edit(
            KEY, ["10:1h", "100"], guards=["errors", "latency=0.5"], required_users=50
        )
    plan = plan_of()
    assert [step["percent"] for step in plan.steps] == [10, 100]
    assert (plan.latency_limits, plan.required_users) == ({"2": 0.5}, 50)
    # The numbers of guards are other ones, so the counts before begin again.
    assert plan.run_id not in {None, before.run_id}
    event = PlanEvent.objects.latest("id")
    assert (event.kind, event.actor) == ("edited", "ana")
    assert event.message == (
        "edited: steps 5 % for 1 h, 25 % for 1 h, 100 % for 1 h → 10 % for 1 h, 100 %; "
        "guard latency=0.5,limit=2,action=rollback added; required users 1,000 → 50; "
        "measuring before the start begins again"
    )
    assert found.starts_again == "measuring before the start begins again"
    assert len(found.changes) == 3
    assert rollouts.start(KEY).steps == plan.steps
    assert rollout() == 10


def test_first_step_of_an_edited_plan_must_raise_the_rollout(flag: FeatureFlag) -> None:
    rollouts.create(KEY, STEPS)
    changes.flags.set_rollout(KEY, 3)
    with pytest.raises(InvalidPlanError, match="begin with a higher step"):
        rollouts.edit(KEY, ["3:1h", "100"])


def test_start_of_a_pending_plan_is_set_moved_and_removed(flag: FeatureFlag) -> None:
    rollouts.create(KEY, STEPS)
    at = datetime(2126, 1, 1, 12, tzinfo=timezone.utc)
    [change] = rollouts.edit(KEY, starts_at=at).changes
    assert change == "start by hand → 2126-01-01T12:00:00+00:00"
    assert plan_of().starts_at == at
    assert rollouts.edit(KEY, starts_at=at).changes == ()
    rollouts.edit(KEY, starts_at=at + timedelta(days=1))
    assert rollouts.edit(KEY, starts_at=None).plan.starts_at is None
    rollouts.start(KEY)
    with pytest.raises(PlanError, match="is running, so its start cannot be changed"):
        rollouts.edit(KEY, starts_at=at)


def test_later_steps_of_a_running_plan_are_edited_without_a_new_run(started: Plan) -> None:
    before = run_of()
    found = rollouts.edit(KEY, ["5:1h", "60:1h", "100"])
    assert found.starts_again is None
    assert (run_of(), rollout()) == (before, 5)
    pass_step()
    run_plans()
    assert rollout() == 60


def test_tightened_guard_starts_the_present_step_again(started: Plan) -> None:
    see_enough()
    end_dwell_time()
    before = plan_of()
    found = rollouts.edit(KEY, guards=TIGHTER)
    after = plan_of()
    assert found.starts_again == "step 1 starts again, with new counts and its whole time"
    assert after.run_id != before.run_id
    assert (after.step, after.state, rollout()) == (0, State.RUNNING, 5)
    assert after.due_at is not None
    assert before.due_at is not None
    assert after.due_at > before.due_at + timedelta(minutes=59)
    # No change of the flag, and no foreign one for the driver.
    assert after.flag_version == before.flag_version == flag_history(KEY)[0].version
    assert run_plans()[0].state == "running"


def test_edit_without_a_difference_writes_nothing(started: Plan) -> None:
    before = plan_of()
    assert rollouts.edit(KEY, STEPS, guards=["errors"], required_users=1000) == (before, (), None)
    assert (plan_of().changed_at, events()) == (before.changed_at, ["created", "started"])


def test_paused_plan_is_edited_and_resumed_with_its_new_step(started: Plan) -> None:
    rollouts.jump(KEY, 25)
    rollouts.pause(KEY)
    assert rollouts.edit(KEY, ["5:1h", "30:1h", "100"], guards=[]).starts_again is None
    assert rollout() == 25
    rollouts.resume(KEY)
    assert (rollout(), plan_of().guards) == (30, [])


@pytest.mark.parametrize("state", [State.DONE, State.ROLLED_BACK])
def test_plan_that_has_ended_is_not_edited(started: Plan, state: State) -> None:
    Plan.objects.update(state=state)
    with pytest.raises(PlanError, match="cannot be edited; possible next"):
        rollouts.edit(KEY, STEPS)


def test_plan_that_does_not_exist_is_not_edited(flag: FeatureFlag) -> None:
    with pytest.raises(UnknownPlanError):
        rollouts.edit(KEY, STEPS)


def test_edit_refuses_a_changed_flag_another_version_and_another_plan(started: Plan) -> None:
    with pytest.raises(ConflictError, match="has version"):
        rollouts.edit(KEY, guards=TIGHTER, expect_version=1)
    version = version_of_plan(plan_of())
    rollouts.edit(KEY, ["5:1h", "50:1h", "100"], expect_plan=version)
    with pytest.raises(ConflictError, match="has been changed since the question"):
        rollouts.edit(KEY, STEPS, expect_plan=version)
    changes.flags.set_rollout(KEY, 7)
    with pytest.raises(ConflictError, match=r"because .*5 → 7 %; pause it first: .* pause"):
        rollouts.edit(KEY, guards=TIGHTER)
    assert (rollout(), plan_of().guards[0]["limit"]) == (7, 2)


def test_edit_refuses_a_plan_that_has_tripped(started: Plan) -> None:
    Plan.objects.update(trip_run_id=run_of(), trip_reason="errors: too many")
    with pytest.raises(PlanError, match=r"run-jobs will roll it back: .* too many; see it"):
        rollouts.edit(KEY, guards=TIGHTER)


def test_edit_does_not_drop_counts_that_trip_before_the_driver_has_seen_them(started: Plan) -> None:
    harm()
    with pytest.raises(PlanError, match=r"run-jobs will roll it back: .* 300 of 1,186 users"):
        rollouts.edit(KEY, guards=TIGHTER)
    # Later steps keep the counts.
    assert rollouts.edit(KEY, ["5:1h", "60:1h", "100"]).starts_again is None
    run_plans()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_guard_that_holds_a_plan_is_edited_to_roll_back(flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS, guards=["errors,action=hold"])
    harm()
    run_plans()
    assert plan_of().state == State.HOLDING
    assert rollouts.edit(KEY, guards=["errors"]).starts_again


def test_tightened_guard_needs_a_driver(started: Plan) -> None:
    drive_recently(minutes=6)
    with pytest.raises(PlanError, match="run-jobs has not run"):
        rollouts.edit(KEY, guards=TIGHTER)
    assert plan_of().guards[0]["limit"] == 2


# The 5 % of all runs.


def test_plan_without_restarts_gives_each_step_the_same_part(started: Plan) -> None:
    pass_step()
    run_plans()
    assert given() == [pytest.approx((0.02, 0.004)), pytest.approx((0.02, 0.004))]


def test_plan_that_is_edited_jumped_and_resumed_gets_five_percent_in_all(started: Plan) -> None:
    for limit in (1.9, 1.8, 1.7):
        rollouts.edit(KEY, guards=[f"errors,limit={limit}"])
        rollouts.pause(KEY)
        rollouts.resume(KEY)
        rollouts.jump(KEY, 25)
        rollouts.jump(KEY, 5)
    found = given()
    assert len(found) == 13
    assert min(min(pair) for pair in found) > 0
    assert sum(map(sum, found)) <= PLAN_ALPHA
    thresholds = plan_record(plan_of())["evidence"]["guards"][0]["threshold"]
    assert thresholds == pytest.approx(1 / found[-1][0])


def test_resumed_step_needs_more_evidence_for_a_trip(started: Plan) -> None:
    def tripped_at(threshold: float) -> None:
        record = plan_record(plan_of())
        assert record["evidence"]["guards"][0]["threshold"] == pytest.approx(threshold)

    tripped_at(50)
    rollouts.pause(KEY)
    rollouts.resume(KEY)
    tripped_at(100)


def test_guard_that_is_left_alone_is_not_more_sensitive(flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS, guards=["errors", "latency=0.5", "latency=1", "latency=2"])
    first = given()[0][0]
    rollouts.pause(KEY)
    rollouts.edit(KEY, ["5:1h", "100"], guards=["latency=1"])
    rollouts.resume(KEY)
    assert given()[-1][0] == pytest.approx(first / 4)
    # A trip is one of the 5 %.
    harm()
    FailedUnit.objects.update(guard=1)
    run_plans()
    rollouts.resume(KEY)
    assert given()[-1][0] == pytest.approx(0.04)


def test_trip_by_a_statistical_guard_gives_the_resumed_plan_its_whole_five_percent(
    started: Plan,
) -> None:
    rollouts.jump(KEY, 25)
    first = given()[0]
    harm()
    run_plans()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    rollouts.resume(KEY)
    assert given()[-1] == first


def test_trip_by_a_guard_of_the_project_or_a_person_gives_no_more(
    flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.start(KEY, STEPS, guards=["errors", f"function={__name__}.orders_fine"])
    first = given()[0]
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.returned", "few orders")
        run_plans()
    assert plan_of().state == State.ROLLED_BACK
    rollouts.resume(KEY)
    assert given()[-1] == pytest.approx((first[0] / 2, first[1] / 2))
    rollouts.rollback(KEY)
    rollouts.resume(KEY)
    assert given()[-1] < given()[-2]


def test_counts_at_the_trip_and_since_then_are_apart(started: Plan) -> None:
    assert plan_record(plan_of())["failed_at_trip"] is None
    harm()
    run = run_of()
    run_plans()
    FailedUnit.objects.bulk_create(
        FailedUnit(run_id=run, guard=0, inside=inside, unit=3_000_000 + unit)
        for unit, inside in enumerate((True, True, False))
    )
    record = plan_record(plan_of())
    [at_trip], [since] = record["failed_at_trip"], record["failed_since_trip"]
    assert record["tripped_at"] == plan_of().ended_at
    errors = {"number": 0, "name": "errors"}
    assert at_trip == {**errors, "inside": 300, "outside": 20}
    assert since == {**errors, "inside": 2, "outside": 1}
    rollouts.resume(KEY)
    assert plan_record(plan_of())["failed_at_trip"] is None


@COMMITTED
def test_edit_waits_for_a_step_that_is_not_committed_and_is_refused(started: Plan) -> None:
    def edit() -> str:
        with pytest.raises(
            PlanError, match="at step 2, so the steps before must stay: 5 % for 1 h"
        ):
            rollouts.edit(KEY, ["6:1h", "25:1h", "100:1h"])
        return "refused"

    assert run_during(lambda: rollouts.jump(KEY, 25), edit) == "refused"


@COMMITTED
def test_edit_waits_for_a_kill_that_is_not_committed_and_is_refused(started: Plan) -> None:
    def edit() -> str:
        with pytest.raises(ConflictError, match="turned off"):
            rollouts.edit(KEY, guards=TIGHTER)
        return "refused"

    assert run_during(lambda: changes.flags.disable(KEY), edit) == "refused"
    assert plan_of().guards[0]["limit"] == 2
