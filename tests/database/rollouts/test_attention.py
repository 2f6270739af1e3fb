"""Plans that need attention, until somebody acts."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff import acting_as, changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, State
from tests.support.rollouts import KEY, STEPS, end_dwell_time, harm, leave_unguarded, plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def started(flag: FeatureFlag) -> Plan:
    return rollouts.start(KEY, STEPS)


def needs() -> bool:
    """Whether the plan needs attention, by its row and by the queries of a list."""
    plan = plan_of()
    lists = Plan.objects.needing_attention(), Plan.objects.unguarded()
    assert plan.needs_attention == any(plan in found for found in lists)
    return plan.needs_attention


def hold() -> None:
    """Holds, because no user has been seen."""
    end_dwell_time()
    run_plans()
    assert plan_of().state == State.HOLDING


def trip() -> None:
    harm()
    run_plans()
    assert plan_of().state == State.ROLLED_BACK


def be_paused_by_a_change() -> None:
    changes.flags.set_rollout(KEY, 7)
    run_plans()
    assert plan_of().state == State.PAUSED


@pytest.mark.parametrize(
    "happen",
    [hold, trip, be_paused_by_a_change, leave_unguarded, lambda: rollouts.pause(KEY)],
    ids=["held", "tripped", "changed", "unguarded", "paused"],
)
def test_plan_that_waits_for_a_person_needs_attention(happen: Any) -> None:
    assert not needs()
    happen()
    assert needs()


def test_plan_that_a_person_has_rolled_back_needs_no_attention() -> None:
    hold()
    with acting_as("ana", reason="support is busy"):
        rollouts.rollback(KEY)
    assert not needs()
    assert plan_of().reason == "support is busy"


def test_resume_or_another_plan_ends_the_attention() -> None:
    trip()
    rollouts.create(KEY, STEPS)
    assert [*Plan.objects.needing_attention()] == []
    rollouts.delete(KEY)
    rollouts.resume(KEY)
    assert not needs()
