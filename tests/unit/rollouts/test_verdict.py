"""The verdict on a step of a rollout plan: trip, pass or hold, and the sentence that says why."""

from __future__ import annotations

import doctest
import json
import math
from dataclasses import replace

import pytest

from flagstaff.rollouts import alpha, guards, verdict, verdict_text
from flagstaff.rollouts.alpha import brake_alpha, guard_alpha
from flagstaff.rollouts.guards import Guard, guard_name, numbered
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.verdict import Evidence, GuardCounts, Verdict, judge

STEPS = [Step(percent, 3600) for percent in (1, 5, 25, 50, 100)]
ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
CALLABLE = Guard("callable", path="shop.guards.orders")
FIVE, HALF, ALL = 1, 3, 4
LOST = "after ten minutes the step begins anew"
FULL = "the step begins anew at the end of its time"


def evidence(
    inside: int = 2_000,
    outside: int = 38_000,
    *,
    errors: tuple[int, int] = (0, 0),
    slow: tuple[int, int] = (0, 0),
) -> Evidence:
    """Counts of users; `errors` and `slow` are failing users inside and outside."""
    failed = {0: GuardCounts(*errors), 1: GuardCounts(*slow), 2: GuardCounts(*slow)}
    return Evidence(inside, outside, 0.02, failed, requests=(3 * outside, 3 * inside))


def judged(
    found: Evidence, step: int = FIVE, guards: tuple[Guard, ...] = (ERRORS,), required: int = 1000
) -> Verdict:
    return judge(STEPS, step, guards, found, required)


@pytest.mark.parametrize("module", [alpha, guards, verdict, verdict_text])
def test_examples_in_docstrings_are_correct(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_alpha_of_all_steps_and_guards_is_five_percent() -> None:
    guards = [ERRORS, CALLABLE, SLOW, Guard("latency", seconds=2)]
    compared = len(STEPS) - 1
    total = brake_alpha(STEPS) * compared + guard_alpha(STEPS, guards) * 3 * compared
    assert total == pytest.approx(0.05)


def test_alpha_of_the_brake_is_shared_by_steps_up_to_fifty_percent() -> None:
    assert brake_alpha([Step(50, 1), Step(51, 1), Step(99, 1)]) == 0.01


def test_alpha_of_a_plan_with_one_step_of_all_users_is_whole() -> None:
    assert brake_alpha([Step(100, 1)]) == 0.01
    assert guard_alpha([Step(100, 1)], []) == 0.04


def test_numbers_of_guards_are_those_of_their_counts() -> None:
    assert numbered([SLOW, CALLABLE, ERRORS, SLOW]) == [(1, SLOW), (0, ERRORS), (4, SLOW)]


def test_name_of_a_guard_is_for_sentences() -> None:
    assert [guard_name(one) for one in (ERRORS, SLOW, CALLABLE)] == [
        "errors",
        "latency over 0.5 s",
        "shop.guards.orders",
    ]


def test_guard_at_its_threshold_trips() -> None:
    found = judged(evidence(errors=(41, 210)))
    assert (found.trip, found.trip_action, found.passed) == ("errors", "rollback", False)
    assert found.why == (
        "errors: 41 of 2,000 users inside failed, 210 of 38,000 outside; 3.7 times as often"
    )
    assert found.guards[0].threshold == pytest.approx(100)
    assert found.guards[0].e_value > 100


def test_guard_just_below_its_threshold_does_not_trip() -> None:
    results = [judged(evidence(errors=(inside, 210))).guards[0] for inside in range(60)]
    assert [one.tripped for one in results] == [one.e_value >= 100 for one in results]
    assert {one.tripped for one in results} == {True, False}


def test_more_guards_raise_the_threshold() -> None:
    found = judged(evidence(), guards=(ERRORS, SLOW, SLOW))
    assert [one.threshold for one in found.guards] == pytest.approx([300, 300, 300])


def test_latency_guard_uses_the_counts_of_its_number() -> None:
    found = judged(evidence(slow=(41, 210)), guards=(ERRORS, SLOW))
    assert found.trip == "latency over 0.5 s"
    assert [one.failed.inside for one in found.guards] == [0, 41]
    assert found.why == (
        "latency over 0.5 s: 41 of 2,000 users inside were slower, 210 of 38,000 outside; "
        "3.7 times as often"
    )


def test_guard_with_hold_says_so() -> None:
    found = judged(evidence(errors=(41, 210)), guards=(replace(ERRORS, action="hold"),))
    assert (found.trip, found.trip_action) == ("errors", "hold")


def test_rollback_comes_before_hold() -> None:
    holding = replace(SLOW, action="hold")
    found = judged(evidence(errors=(41, 210), slow=(80, 210)), guards=(holding, ERRORS))
    assert (found.trip, found.trip_action) == ("errors", "rollback")


def test_tolerated_ratio_does_not_trip() -> None:
    counts = evidence(errors=(200, 1900))
    assert judged(counts).trip == "errors"
    assert judged(counts, guards=(replace(ERRORS, tolerated=1.8),)).trip is None


def test_share_of_inside_is_that_of_users_seen() -> None:
    # At 5 % half of the users seen are inside.
    assert judged(evidence(2000, 2000, errors=(60, 50))).trip is None


def test_uncertain_share_counts_against_a_trip_and_against_a_pass() -> None:
    sure = replace(evidence(errors=(110, 2000)), theta_error=0.0)
    unsure = replace(sure, theta_error=0.2)
    exact, found = judged(sure).guards[0], judged(unsure).guards[0]
    assert found.e_value < exact.e_value
    assert found.upper > exact.upper
    assert found.ratio == exact.ratio


def test_share_with_a_huge_error_is_no_evidence() -> None:
    found = judged(replace(evidence(errors=(900, 1)), theta_error=50.0)).guards[0]
    assert (found.e_value, found.upper) == (1.0, math.inf)


def test_brake_trips_at_its_number_of_users_and_none_outside() -> None:
    calm = judged(evidence())
    assert calm.brake == 3
    assert judged(evidence(errors=(2, 0))).trip is None
    found = judged(evidence(errors=(3, 0)))
    assert (found.trip, found.trip_action, found.brake) == ("brake", "rollback", 3)
    assert found.why == "brake: 3 of 2,000 users inside failed, none of 38,000 outside"


def test_brake_does_not_trip_after_a_failure_outside() -> None:
    assert judged(evidence(errors=(3, 1)), guards=(CALLABLE,)).trip is None


def test_brake_watches_errors_without_a_guard_of_errors() -> None:
    assert judged(evidence(errors=(3, 0)), guards=(SLOW,)).trip == "brake"
    assert judged(evidence(slow=(3, 0)), guards=(SLOW,)).trip == "latency over 0.5 s"


def test_brake_needs_more_users_where_more_are_inside() -> None:
    half = judged(evidence(20_000, 20_000), step=HALF)
    assert half.brake == 10
    assert judged(evidence(20_000, 20_000, errors=(9, 0)), step=HALF).trip is None


def test_brake_is_off_above_fifty_percent() -> None:
    steps = [Step(60, 3600)]
    found = judge(steps, 0, [SLOW], evidence(24_000, 16_000, errors=(200, 0)), 1000)
    assert (found.brake, found.trip) == (None, None)


def test_step_with_a_low_upper_bound_passes() -> None:
    found = judged(evidence(500, 9_500, errors=(20, 400)), required=1000)
    assert found.passed
    assert found.smallest_harm is None
    assert found.guards[0].upper < 2
    assert found.why == "fine after 500 users inside: errors at most 1.8 times as often"


def test_step_with_a_high_upper_bound_holds() -> None:
    found = judged(evidence(500, 9_500, errors=(2, 38)))
    assert not found.passed
    assert not found.guards[0].passed
    assert found.why == (
        "waits for users: 500 of 1,000 users inside seen, errors may be up to 4.9 times as often"
    )


def test_step_with_enough_users_passes_and_states_the_smallest_harm() -> None:
    found = judged(evidence(1_000, 19_000, errors=(2, 38)))
    assert found.passed
    assert found.guards[0].upper > 2
    assert found.smallest_harm == found.guards[0].smallest_harm
    assert found.why == (
        "fine after 1,000 users inside: errors would have tripped at 5.7 times as often"
    )


def test_step_with_enough_users_and_signs_of_harm_holds() -> None:
    found = judged(evidence(1_000, 99_000, errors=(6, 99)), step=0)
    assert (found.trip, found.passed) == (None, False)
    assert found.why == (
        "signs of harm, too few for a trip: errors, 6 of 1,000 users inside, 99 of 99,000 outside; "
        "find the cause, or jump to the next step"
    )


def test_smallest_harm_is_the_largest_of_the_guards_without_a_low_bound() -> None:
    found = judged(evidence(errors=(2, 38), slow=(4, 100)), guards=(ERRORS, SLOW))
    harms = [one.smallest_harm or 0.0 for one in found.guards]
    assert found.smallest_harm == max(harms)
    assert harms[0] > harms[1]


def test_step_without_any_failure_passes_with_enough_users_only() -> None:
    held = judged(evidence(999, 20_000))
    assert held.why == (
        "waits for users: 999 of 1,000 users inside seen, too few failures to compare errors"
    )
    found = judged(evidence(1_000, 20_000))
    assert (found.passed, found.smallest_harm) == (True, None)
    assert found.why == "fine after 1,000 users inside: errors with too few failures to compare"


def test_every_guard_must_pass() -> None:
    found = judged(evidence(500, 9_500, errors=(20, 400)), guards=(ERRORS, SLOW))
    assert [one.passed for one in found.guards] == [True, False]
    assert not found.passed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"users_inside": 0}, "no user inside has been seen yet"),
        ({"users_outside": 0}, "no user outside has been seen yet"),
        ({"requests": (900, 0)}, "no request or task of a user inside has ended yet"),
        ({"requests": (0, 900)}, "no request or task of a user outside has ended yet"),
        ({"lost_workers": 1}, f"a worker stopped without its last report; {LOST}"),
        ({"lost_workers": 3}, f"3 workers stopped without their last reports; {LOST}"),
        ({"dropped": 1}, f"workers had no memory left for a failure; {FULL}"),
        ({"dropped": 1200}, f"workers had no memory left for 1,200 failures; {FULL}"),
    ],
)
@pytest.mark.parametrize("guards", [(ERRORS,), (CALLABLE,), ()], ids=["errors", "callable", "none"])
def test_missing_data_is_never_a_pass(
    change: dict[str, object], why: str, guards: tuple[Guard, ...]
) -> None:
    counts = evidence(500, 9_500, errors=(20, 400))
    assert judged(counts, guards=guards).passed
    found = judged(replace(counts, **change), guards=guards, required=0)  # type: ignore[arg-type]
    assert not found.passed
    assert found.trip is None
    assert found.why == f"waits for data: {why}"


def test_trip_needs_no_complete_data() -> None:
    found = judged(replace(evidence(errors=(41, 210)), lost_workers=2, dropped=9))
    assert found.trip == "errors"


def test_step_at_all_users_passes_without_a_comparison() -> None:
    found = judged(evidence(40_000, 0, errors=(900, 0)), step=ALL)
    assert (found.trip, found.passed, found.guards) == (None, True, ())
    assert found.why == "at 100 % only callable guards watch the step"


def test_plan_without_statistical_guards_needs_data_only() -> None:
    found = judged(evidence(3, 50), guards=(CALLABLE,))
    assert found.passed
    assert found.why == "fine after 3 users inside: only the brake compares errors"


def test_unknown_guard_number_counts_as_no_failures() -> None:
    counts = replace(evidence(), failed={})
    assert judged(counts).guards[0].failed == GuardCounts(0, 0)


def test_verdict_as_dict_is_strict_json() -> None:
    found = judged(evidence(errors=(2, 0)))
    assert found.guards[0].upper == math.inf
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert stored["guards"][0]["upper"] is None
    assert stored["guards"][0]["failed"] == {"inside": 2, "outside": 0}
    assert stored["brake"] == 3
