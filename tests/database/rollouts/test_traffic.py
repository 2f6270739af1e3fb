"""What a plan says before its start about the users that its steps need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.models import Plan, StepRun
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.traffic import Traffic, notes_of
from tests.support.plans import KEY, fail, plan_of, run_of, see
from tests.support.reports import register_worker

pytestmark = pytest.mark.django_db

STEPS = ["1:1h", "50:1d", "100"]


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    return rollouts.create(KEY, STEPS)


def measure(*, users: int, hours: float, failed: int = 0) -> None:
    """Writes what the pending plan has measured in so many hours."""
    see(run_of(), inside=False, users=users)
    fail(run_of(), inside=False, users=failed)
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=hours))


def notes() -> str:
    flag: Any = FeatureFlag.objects.get()
    return "; ".join(notes_of(plan_of(), flag, 0))


def test_small_site_is_warned_of_the_steps_that_cannot_pass(pending: Plan) -> None:
    measure(users=300, hours=24)
    text = notes()
    assert "at 1 %, about 3 users a day evaluate this flag with it on; a step needs 1,000" in text
    assert "so the plan will hold: 1 % for 1 h, 50 % for 1 d;" in text


def test_site_whose_failures_can_be_compared_is_not_warned_and_told_what_it_misses(
    pending: Plan,
) -> None:
    measure(users=40_000, hours=1, failed=8_000)
    text = notes()
    assert "the plan will hold" not in text
    assert "times as often, and can miss smaller harm" in text


def test_plan_that_has_measured_for_less_than_an_hour_is_told_so(pending: Plan) -> None:
    measure(users=300, hours=0.5)
    User.objects.all().delete()
    assert "created an hour before its start says whether they come" in notes()


@pytest.mark.parametrize(
    ("steps", "guards", "is_noted"),
    [
        (STEPS, ["errors"], True),
        (STEPS, ["errors", f"function={__name__}.notes"], False),
        (["1:1h", "50:1d"], ["errors"], False),
    ],
)
def test_last_step_without_a_guard_is_noted(
    flag: FeatureFlag, steps: list[str], guards: list[str], *, is_noted: bool
) -> None:
    rollouts.create(KEY, steps, guards=guards)
    assert ("no guard watches the last step" in notes()) is is_noted


@pytest.mark.parametrize(
    ("setting", "reported", "is_noted"),
    [("", None, True), ("a", None, False), ("a", "", True), ("", "a", False)],
)
def test_missing_release_is_noted_before_the_start(
    pending: Plan, settings: Any, setting: str, reported: str | None, *, is_noted: bool
) -> None:
    settings.FLAGSTAFF = {"RELEASE": setting}
    if reported is not None:
        register_worker("measurements", release=reported)
    assert ("workers report no release" in notes()) is is_noted


@pytest.mark.parametrize(("required", "can"), [(10, True), (11, False)])
def test_step_passes_with_its_users_in_its_time(required: int, *, can: bool) -> None:
    traffic = Traffic(seconds=86_400, users=24_000, failed={})
    guard = Guard("errors")
    assert traffic.inside(Step(1, 3600)) == pytest.approx(10)
    assert traffic.can_pass(Step(1, 3600), guard, 0, required) is can


@pytest.mark.parametrize(("users", "is_slow"), [(180_000, False), (170_000, True)])
def test_step_is_slow_if_it_makes_the_plan_late_by_more_than_half(
    users: int, *, is_slow: bool
) -> None:
    traffic = Traffic(seconds=86_400, users=users, failed={})
    # With half of the 25 hours, the first step has 13.5 hours for 1,000 users, of 1 % each.
    steps = [Step(1, 3600), Step(50, 86_400), Step(100, 3600)]
    assert traffic.slow_steps(steps, [Guard("errors")], 1000) == (steps[:1] if is_slow else [])
