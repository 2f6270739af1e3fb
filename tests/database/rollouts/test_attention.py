"""Plans that need attention, until somebody acts."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff import acting_as, changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import plan_record
from tests.support.rollouts import (
    KEY,
    STEPS,
    end_dwell_time,
    harm,
    plan_of,
    run_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def started(flag: FeatureFlag) -> Plan:
    return rollouts.start(KEY, STEPS)


def needs() -> bool:
    """Whether the plan needs attention, by its row and by the query of a list."""
    plan = plan_of()
    needs = plan.reason_kind != ""
    assert [plan] * needs == [*Plan.objects.needing_attention()]
    return needs


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
    ("prepare", "kind"), [(hold, "held"), (trip, "tripped"), (be_paused_by_a_change, "paused")]
)
def test_what_the_driver_has_stopped_needs_attention(prepare: Any, kind: str) -> None:
    assert not needs()
    prepare()
    assert needs()
    assert plan_record(plan_of())["reason_kind"] == kind


def test_stored_trip_needs_attention() -> None:
    Plan.objects.update(trip_run_id=run_of(), reason_kind="tripped")
    assert needs()
    rollouts.pause(KEY)
    assert needs()


@pytest.mark.parametrize("reason", ["support is busy", ""])
def test_what_a_person_has_stopped_needs_none(reason: str) -> None:
    hold()
    with acting_as("ana", reason=reason):
        for stop in (rollouts.pause, rollouts.rollback):
            stop(KEY)
            assert not needs()
            record = plan_record(plan_of())
            assert (record["reason"], record["reason_kind"]) == (reason or None, None)


def test_resume_or_another_plan_is_an_act() -> None:
    trip()
    rollouts.create(KEY, STEPS)
    assert [*Plan.objects.needing_attention()] == []
    rollouts.delete(KEY)
    rollouts.resume(KEY)
    assert not needs()
