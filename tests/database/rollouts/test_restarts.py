"""The 5 % of false trips of plans whose steps start again."""

from __future__ import annotations

import pytest

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan, StepRun
from flagstaff.rollouts.status import plan_record
from tests.support.rollouts import (
    KEY,
    STEPS,
    go_to,
    plan_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def started(flag: FeatureFlag) -> Plan:
    return rollouts.start(KEY, STEPS)


def numbers() -> list[tuple[int | None, int]]:
    """The steps of the runs with their numbers, oldest first."""
    runs = StepRun.objects.exclude(step=None).order_by("id")
    return [*runs.values_list("step", "number")]


def test_each_new_run_of_a_step_has_the_next_number(started: Plan) -> None:
    go_to(25)
    for _ in range(2):
        rollouts.rollback(KEY)
        rollouts.resume(KEY)
    assert numbers() == [(0, 1), (1, 1), (0, 2), (0, 3)]


def test_run_that_starts_again_needs_more_evidence_for_a_trip(started: Plan) -> None:
    def threshold() -> float:
        found: float = plan_record(plan_of())["evidence"]["guards"][0]["threshold"]
        return found

    assert threshold() == pytest.approx(100)
    rollouts.pause(KEY)
    rollouts.resume(KEY)
    assert threshold() == pytest.approx(100)
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 7)
    rollouts.resume(KEY)
    assert threshold() == pytest.approx(300)
