"""What a plan says before its start about the users that its steps need."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import ClockTimestamp, Plan, StepRun
from flagstaff.rollouts.status import Traffic, notes_of, notes_of_releases
from flagstaff.rollouts.steps_and_guards import Step
from tests.support.plans import KEY, fail, make_flag, plan_of, run_of, see
from tests.support.reports import register_worker

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
    return "; ".join(notes_of(plan_of(), flag))


def test_page_names_what_was_measured_and_warns_of_the_steps_that_see_too_few_users(
    pending: Plan,
) -> None:
    measure(users=3000, hours=24)
    text = notes()
    assert re.search(
        r"in 1 d, (2,9\d\d|3,0\d\d) users evaluated this flag: (29|30|31) at 1 %", text
    )
    assert (
        "1 %; a step passes when its time is over and 100 users with the flag were counted; fewer "
        in text
    )
    assert "so the plan may hold: 1 % for 1 h; steps that fit: 5 % for 1 d, 25 % for 1 d" in text


@pytest.mark.parametrize(
    ("fields", "is_said"),
    [({}, True), ({"rollout_percent": 0}, False), ({"enabled": False}, False)],
)
def test_plan_that_is_not_started_says_that_a_roll_back_takes_the_present_rollout_away(
    fields: dict[str, Any], is_said: bool, flag: FeatureFlag
) -> None:
    changes.flags.update(KEY, {"rollout_percent": 25, **fields})
    rollouts.create(KEY, ["50:1d", "100"])
    text = "a roll back goes to 0 %, and not to the 25 % before the plan"
    assert (text in notes()) is is_said


def test_small_site_is_told_to_use_function_guards(pending: Plan) -> None:
    measure(users=150, hours=24)
    assert "too few users for a comparison: use function guards" in notes()


def test_site_with_enough_users_is_not_warned_and_told_what_it_misses(pending: Plan) -> None:
    measure(users=260_000, hours=24, failed=8_000)
    text = notes()
    assert "the plan may hold" not in text
    assert "times as often, and can miss smaller harm" in text


@pytest.mark.parametrize(("hours", "is_enough"), [(0.5, False), (1, True)])
def test_less_than_a_day_says_nothing_but_of_a_step_that_is_not_longer(
    pending: Plan, hours: float, *, is_enough: bool
) -> None:
    measure(users=300, hours=hours)
    text = notes()
    assert ("known a day after the plan was created" in text) is not is_enough
    # Nothing is said of the step of a day.
    assert ("may hold: 1 % for 1 h; steps that fit" in text) is is_enough


def test_started_plan_without_known_traffic_says_only_what_a_step_needs(running: Plan) -> None:
    text = (
        "a step passes when its time is over and 100 users with the flag were counted; fewer are "
        "enough if the comparison already shows that they do not fail too often; no "
    )
    assert notes().startswith(text)


def test_new_plan_of_a_flag_follows_the_users_of_the_plan_before(pending: Plan) -> None:
    measure(users=500, hours=24)
    Plan.objects.update(state="done")
    plan = rollouts.create(KEY)
    assert (plan.steps, plan.required_users) == (["25:1d", "50:2d", "100"], 100)
    # A day with users who come again says less.
    assert rollouts.create(make_flag("other").key).steps[0] == "5:1d"


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
    noted = "; ".join(notes_of_releases(plan_of(), 0))
    assert ("not known which build the workers run" in noted) is is_noted


def test_step_sees_its_part_of_the_users_in_its_time_and_no_more_in_longer_time() -> None:
    traffic = Traffic(seconds=86_400, users=24_000, failed={})
    seen = [traffic.inside(Step(1, hours * 3600)) for hours in (1, 24, 240)]
    assert seen == pytest.approx([10, 240, 240])
    assert replace(traffic, seconds=2 * 86_400).users_a_day == 12_000
