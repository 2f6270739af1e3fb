"""The 5 % of false trips of plans whose steps start again, and the counts of a trip."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.alpha import PLAN_ALPHA
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import FailedUnit, Plan, State, StepRun
from flagstaff.rollouts.status import plan_record
from tests.support.rollouts import (
    KEY,
    STEPS,
    go_to,
    harm,
    pass_step,
    plan_of,
    rollout,
    run_of,
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


def test_plan_without_restarts_gives_each_step_the_same_part(started: Plan) -> None:
    pass_step()
    run_plans()
    assert given() == [pytest.approx((0.02, 0.004)), pytest.approx((0.02, 0.004))]


def test_plan_that_is_resumed_and_begun_again_gets_five_percent_in_all(started: Plan) -> None:
    for stop in (rollouts.pause, rollouts.rollback, rollouts.pause) * 2:
        stop(KEY)
        rollouts.resume(KEY)
    found = given()
    assert len(found) == 7
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


def test_trip_by_a_statistical_guard_gives_the_resumed_plan_its_whole_five_percent(
    started: Plan,
) -> None:
    go_to(25)
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
