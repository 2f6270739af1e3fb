"""The verdict on a step of a rollout plan, with its sentence."""

import doctest
import json
import math
import re
from dataclasses import asdict, replace
from datetime import datetime, timezone
from types import ModuleType

import pytest
from django.utils.timezone import override

from flagstaff.rollouts import statistics, steps_and_guards, verdict
from flagstaff.rollouts.steps_and_guards import (
    Guard,
    GuardCounts,
    Step,
    StepEvidence,
    StepVerdict,
    Tenth,
    numbered,
)
from flagstaff.rollouts.verdict import COMPARISONS, judge

STEPS = [*(Step(percent, 3600) for percent in (1, 5, 25, 50)), Step(100, 0)]
ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
FUNCTION = Guard("function", path="shop.guards.orders")
FIVE, HALF, ALL = 1, 3, 4
LOST = "after ten minutes the step starts again"
FULL = "the step starts again when its dwell time has ended"
OTHERS = (
    "because others of their networks came first; check CLIENT_ADDRESS, or set the rollout by hand"
)


def evidence(
    inside: int = 2_000,
    outside: int = 38_000,
    *,
    errors: tuple[int, int] = (0, 0),
    slow: tuple[int, int] = (0, 0),
) -> StepEvidence:
    """Counts of users; `errors` and `slow` are failing users inside and outside."""
    failed = {0: GuardCounts(*errors), 1: GuardCounts(*slow), 2: GuardCounts(*slow)}
    return StepEvidence(inside, outside, 0.02, failed, requests=(3 * outside, 3 * inside))


def judged(
    evidence: StepEvidence,
    step: int = FIVE,
    guards: tuple[Guard, ...] = (ERRORS,),
    required: int = 1000,
) -> StepVerdict:
    return judge(STEPS, step, guards, evidence, required)


@pytest.mark.parametrize("module", [steps_and_guards, statistics, verdict])
def test_examples_in_docstrings_are_correct(module: ModuleType) -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_guard_at_its_threshold_trips() -> None:
    verdict = judged(evidence(errors=(41, 210)))
    assert (verdict.trip, verdict.trip_action, verdict.passed) == ("errors", "rollback", False)
    figures = "41 of 2,000 users with the flag failed, 210 of 38,000 without it; 3.7 times as often"
    assert verdict.why == f"errors: {figures}"
    assert verdict.guards[0].threshold == pytest.approx(200)
    assert verdict.guards[0].e_value > 200
    # More guards raise the threshold.
    verdict = judged(evidence(), guards=(ERRORS, SLOW, SLOW))
    assert [guard.threshold for guard in verdict.guards] == pytest.approx([600, 600, 600])
    # A trip needs no complete data.
    assert judged(replace(evidence(errors=(41, 210)), lost_workers=2, dropped=9)).trip == "errors"


def test_guard_just_below_its_threshold_or_at_another_share_does_not_trip() -> None:
    # At 5 % half of the users seen are inside.
    assert judged(evidence(2000, 2000, errors=(60, 50))).trip is None
    results = [judged(evidence(errors=(inside, 210))).guards[0] for inside in range(60)]
    assert [result.tripped for result in results] == [result.e_value >= 200 for result in results]
    assert {result.tripped for result in results} == {True, False}


@pytest.mark.parametrize("errors", [(41, 210), (3, 0)], ids=["guard", "brake"])
def test_trip_does_not_depend_on_two_networks(errors: tuple[int, int]) -> None:
    counts = evidence(errors=errors)
    least = next(n for n in range(50) if judged(evidence(errors=(n, errors[1]))).trip)
    trips = [
        judged(replace(evidence(errors=(n, errors[1])), spare=2)).trip is not None
        for n in range(least + 3)
    ]
    assert trips == [False] * (least + 2) + [True]
    assert judged(replace(counts, spare=2)).guards[0].ratio == judged(counts).guards[0].ratio


def test_counts_that_only_two_networks_make_harmful_do_not_pass() -> None:
    # With all of them e is 52, and without two of them 15.
    counts = evidence(errors=(25, 210))
    assert not judged(counts).passed
    verdict = judged(replace(counts, spare=2))
    assert (verdict.trip, verdict.passed) == (None, False)


def test_trip_names_the_failing_visitors_whose_cookie_is_younger_than_the_step() -> None:
    new = "9 of 41 failing visitors with the flag have a cookie that is younger than the step"
    counts = GuardCounts(41, 210, visitors=41, new_visitors=9)
    verdict = judged(replace(evidence(), failed={0: counts}))
    assert verdict.why.endswith(f"without it; 3.7 times as often; {new}")
    verdict = judged(replace(evidence(), failed={0: replace(counts, outside=0)}))
    assert verdict.why.endswith(f"failed, 0 of 38,000 without it; {new}")


def test_latency_guard_uses_the_counts_of_its_number() -> None:
    assert numbered([SLOW, FUNCTION, ERRORS, SLOW]) == [(1, SLOW), (0, ERRORS), (4, SLOW)]
    verdict = judged(evidence(slow=(41, 210)), guards=(ERRORS, SLOW))
    assert verdict.trip == "latency over 0.5 s"
    assert [guard.failed.inside for guard in verdict.guards] == [0, 41]
    figures = "41 of 2,000 users with the flag failed, 210 of 38,000 without it; 3.7 times as often"
    assert verdict.why == f"latency over 0.5 s: {figures}"


def test_rollback_comes_before_hold() -> None:
    verdict = judged(evidence(errors=(41, 210)), guards=(replace(ERRORS, action="hold"),))
    assert (verdict.trip, verdict.trip_action) == ("errors", "hold")
    holding = replace(SLOW, action="hold")
    verdict = judged(evidence(errors=(41, 210), slow=(80, 210)), guards=(holding, ERRORS))
    assert (verdict.trip, verdict.trip_action) == ("errors", "rollback")


def test_uncertain_share_counts_against_a_trip_and_against_a_pass() -> None:
    sure = replace(evidence(errors=(110, 2000)), theta_error=0.0)
    unsure = replace(sure, theta_error=0.2)
    exact, inexact = judged(sure).guards[0], judged(unsure).guards[0]
    assert inexact.e_value < exact.e_value
    assert inexact.upper > exact.upper
    assert inexact.ratio == exact.ratio
    huge = judged(replace(evidence(errors=(900, 1)), theta_error=50.0)).guards[0]
    assert (huge.e_value, huge.upper) == (1.0, math.inf)


def test_brake_trips_at_its_number_of_users_and_none_outside() -> None:
    assert judged(evidence()).brake == 3
    assert judged(evidence(errors=(2, 0))).trip is None
    assert judged(evidence(errors=(3, 1)), guards=(FUNCTION,)).trip is None
    verdict = judged(evidence(errors=(3, 0)))
    assert (verdict.trip, verdict.trip_action, verdict.brake) == ("brake", "rollback", 3)
    assert verdict.why == "errors: 3 of 2,000 users with the flag failed, 0 of 38,000 without it"
    # It watches errors without a guard of errors.
    assert judged(evidence(errors=(3, 0)), guards=(SLOW,)).trip == "brake"
    assert judged(evidence(slow=(4, 0)), guards=(SLOW,)).trip == "latency over 0.5 s"


def test_brake_needs_more_users_where_more_are_inside_and_is_off_above_fifty_percent() -> None:
    verdict = judged(evidence(20_000, 20_000, errors=(10, 0)), step=HALF)
    assert (verdict.brake, verdict.trip) == (11, None)
    verdict = judge([Step(60, 3600)], 0, [SLOW], evidence(24_000, 16_000, errors=(200, 0)), 1000)
    assert (verdict.brake, verdict.trip) == (None, None)


def test_step_with_a_low_upper_bound_passes() -> None:
    verdict = judged(evidence(500, 9_500, errors=(20, 400)), required=1000)
    assert verdict.passed
    assert verdict.guards[0].smallest_harm is None
    assert verdict.guards[0].upper < 2
    assert verdict.why == "fine after 500 users with the flag: errors at most 1.8 times as often"
    # Every guard must pass.
    verdict = judged(evidence(500, 9_500, errors=(20, 400)), guards=(ERRORS, SLOW))
    assert [guard.passed for guard in verdict.guards] == [True, False]
    assert not verdict.passed


def test_step_with_a_high_upper_bound_holds_until_there_are_enough_users() -> None:
    verdict = judged(evidence(500, 9_500, errors=(2, 38)))
    assert not verdict.passed
    assert not verdict.guards[0].passed
    seen = "500 of 1,000 users with the flag seen, errors may be up to 4.9 times as often"
    assert verdict.why == f"waits for users: {seen}"
    verdict = judged(evidence(1_000, 19_000, errors=(2, 38)))
    assert verdict.passed
    assert verdict.guards[0].upper > 2
    tripping = "errors would have tripped at 6.3 times as often"
    assert verdict.why == f"fine after 1,000 users with the flag: {tripping}"


def test_hold_names_the_guard_that_does_not_pass_and_not_a_worse_one_that_does() -> None:
    lenient = Guard("errors", limit=10)
    counts = evidence(500, 9_500, errors=(2, 38), slow=(10, 200))
    verdict = judged(counts, guards=(lenient, SLOW))
    errors, slow = verdict.guards
    assert (errors.passed, slow.passed) == (True, False)
    assert errors.upper > slow.upper > slow.limit
    assert verdict.why is not None
    assert "seen, latency over 0.5 s may be up to" in verdict.why


def test_step_with_enough_users_and_signs_of_harm_holds() -> None:
    verdict = judged(evidence(1_000, 99_000, errors=(6, 99)), step=0)
    assert (verdict.trip, verdict.passed) == (None, False)
    assert verdict.why == (
        "signs of harm, not certain yet: errors: 6 of 1,000 users with the flag failed, 99 of "
        "99,000 without it; 6.0 times as often; find the cause, or set the rollout by hand"
    )


def test_step_without_any_failure_passes_with_enough_users_only() -> None:
    seen = "999 of 1,000 users with the flag seen, too few failures to compare errors"
    assert judged(evidence(999, 20_000)).why == f"waits for users: {seen}"
    verdict = judged(evidence(1_000, 20_000))
    assert (verdict.passed, verdict.guards[0].smallest_harm) == (True, None)
    assert verdict.why == "fine after 1,000 users with the flag; too few failures to compare errors"
    # No counts are no failures.
    assert judged(replace(evidence(), failed={})).guards[0].failed == GuardCounts(0, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"users_inside": 0}, "no request or task of a user with the flag has ended yet"),
        ({"users_outside": 0}, "no request or task of a user without the flag has ended yet"),
        ({"requests": (900, 0)}, "no request or task of a user with the flag has ended yet"),
        ({"requests": (0, 900)}, "no request or task of a user without the flag has ended yet"),
        ({"lost_workers": 3}, f"workers that stopped without their last report: 3; {LOST}"),
        ({"dropped": 1200}, f"failures that workers had no memory for: 1,200; {FULL}"),
        ({"left_out": 10_001}, f"10,001 of 20,001 users were left out, {OTHERS}"),
        (
            {"failed": {0: GuardCounts(20, 400, left_out=421)}},
            f"421 of 841 users were left out, {OTHERS}",
        ),
    ],
)
@pytest.mark.parametrize("guards", [(ERRORS,), (FUNCTION,), ()], ids=["errors", "function", "none"])
def test_missing_data_is_never_a_pass(
    change: dict[str, object], why: str, guards: tuple[Guard, ...]
) -> None:
    counts = evidence(500, 9_500, errors=(20, 400))
    assert judged(counts, guards=guards).passed
    verdict = judged(replace(counts, **change), guards=guards, required=0)  # type: ignore[arg-type]
    assert not verdict.passed
    assert verdict.trip is None
    assert verdict.why == f"waits for data: {why}"


def counted(
    *tenths: tuple[tuple[int, int], tuple[int, int]], each: float = 1, **fields: int
) -> StepEvidence:
    """2,000 users inside and 38,000 outside; of each tenth who failed, and requests at risk.

    Both are outside and inside. `each` is how often a failing user failed in different workers.
    """
    written = {
        number: Tenth(users, at_risk, (round(each * users[0]), round(each * users[1])))
        for number, (users, at_risk) in enumerate(tenths)
    }
    outside, inside = (sum(users[side] for users, _ in tenths) for side in (0, 1))
    return replace(evidence(), failed={0: GuardCounts(inside, outside, tenths=written)}, **fields)  # type: ignore[arg-type]


ASK_TWICE = counted(((1900, 200), (380_000, 40_000)))


def compared(evidence: StepEvidence, compare: str = "") -> StepVerdict:
    return judge(STEPS, FIVE, [ERRORS], evidence, 1000, compare=compare)


def test_users_who_make_more_requests_hold_the_plan_and_are_no_harm() -> None:
    verdict = compared(ASK_TWICE)
    assert (verdict.trip, verdict.passed, verdict.guards[0].decides) == (None, False, COMPARISONS)
    assert verdict.why == (
        "users with the flag make 2.0 times the requests: by users, errors 2.0 times as often; by "
        "requests, 1.0 times; wait, or create the plan again with --compare requests or --compare "
        "users"
    )
    assert compared(ASK_TWICE, "users").trip == "errors"
    verdict = compared(ASK_TWICE, "requests")
    assert (verdict.trip, verdict.passed) == (None, True)


def test_number_of_users_passes_where_more_requests_explain_their_failures() -> None:
    verdict = compared(counted(((900, 76), (180_000, 14_200))))
    by_users, by_requests = verdict.guards[0].comparisons
    assert by_users.explained == pytest.approx(4 / 3, abs=0.01)
    assert by_requests.explained == 1
    # Neither the bound of the ratio nor the evidence against equal failures would let it pass.
    assert by_users.upper > 2
    assert by_users.log_e_values[0] > math.log(20)
    assert verdict.passed
    # More failures than that, the same ones with equal requests, and one comparison alone.
    assert not compared(counted(((900, 95), (180_000, 14_200)))).passed
    assert not compared(counted(((900, 76), (180_000, 9_500)))).passed
    assert not compared(counted(((900, 76), (180_000, 14_200))), "users").passed


def test_users_who_make_fewer_requests_do_not_trip_by_requests_alone() -> None:
    half = counted(((1900, 100), (380_000, 10_000)))
    assert compared(half).trip is None
    assert not compared(half).passed
    assert compared(half, "requests").trip == "errors"
    assert compared(half, "users").passed


def test_more_failures_by_both_trip_and_equal_failures_pass() -> None:
    assert compared(counted(((1900, 200), (380_000, 20_000)))).trip == "errors"
    assert compared(counted(((1900, 100), (380_000, 20_000)))).passed


@pytest.mark.parametrize("inside", [60, 100, 130, 200])
def test_client_that_makes_all_requests_that_count_changes_no_decision(inside: int) -> None:
    before = compared(counted(((1900, inside), (380_000, 20_000))))
    # In each of eight workers, and it fails in each at last.
    failed, at_risk = (1900, inside + 1), (380_000, 20_000 + 8 * 64)
    counts = GuardCounts(failed[1], 1900, tenths={0: Tenth(failed, at_risk, (1900, inside + 8))})
    after = compared(replace(evidence(), failed={0: counts}))
    assert (after.trip, after.passed) == (before.trip, before.passed)


def test_user_who_fails_in_several_workers_counts_once() -> None:
    once, often = (counted(((400, 40), (80_000, 4_000)), each=each) for each in (1, 8))
    assert compared(once).guards[0].e_value == compared(often).guards[0].e_value


def test_requests_decide_where_many_users_have_failed_already() -> None:
    # Twice the failures of requests, and hardly more users.
    verdict = compared(counted(((34_000, 1_980), (170_000, 4_950))))
    assert (verdict.trip, verdict.guards[0].decides) == ("errors", ("requests",))
    assert verdict.why.endswith(
        "89 % of the users without the flag have failed already: compared by requests"
    )
    fine = compared(counted(((34_000, 1_790), (170_000, 8_950))))
    assert fine.passed
    assert fine.why.endswith("have failed already: compared by requests")


def test_users_who_always_fail_and_make_fewer_requests_do_not_trip_by_requests() -> None:
    # 30 % of the users on both sides fail at once, and those inside make half the requests.
    half = counted(((11_400, 600), (280_000, 7_600)))
    verdict = compared(half)
    assert (verdict.trip, verdict.passed, verdict.guards[0].decides) == (None, False, ("requests",))
    assert compared(half, "requests").trip == "errors"


def test_users_alone_pass_only_below_what_they_can_show_where_many_have_failed() -> None:
    verdict = compared(counted(((34_000, 1_790), (170_000, 8_950))), "users")
    assert (verdict.trip, verdict.passed) == (None, False)
    assert verdict.why.startswith(
        "89 % of the users without the flag have failed already, so users"
    )
    assert verdict.why.endswith("create the plan again with --compare requests")
    # Without requests at risk, too.
    assert not judged(evidence(errors=(1_790, 34_000))).passed
    assert judged(evidence(errors=(400, 7_700))).passed


def test_fault_that_begins_late_trips_and_one_that_is_not_certain_holds() -> None:
    fine = (((400, 20), (80_000, 4_000)),) * 9
    late = compared(counted(*fine, ((60, 20), (8_000, 400))))
    assert (late.trip, late.guards[0].harm_since) == ("errors", 9)
    # Averaged over the whole step it is nothing.
    assert late.guards[0].comparisons[0].log_e_values[0] < 0
    began_at = datetime(2026, 1, 30, 14, tzinfo=timezone.utc)
    with override("UTC"):
        verdict = compared(replace(counted(*fine, ((60, 13), (8_000, 400))), began_at=began_at))
    assert (verdict.trip, verdict.passed) == (None, False)
    assert re.match(r"signs of harm since .+:54:00 \S+, not certain yet: errors: ", verdict.why)
    assert compared(counted(*fine, ((60, 4), (8_000, 400)))).passed


def test_step_at_all_users_or_without_statistical_guards_needs_no_comparison() -> None:
    verdict = judged(evidence(40_000, 0, errors=(900, 0)), step=ALL)
    assert (verdict.trip, verdict.passed, verdict.guards) == (None, True, ())
    assert verdict.why == "at 100 % only function guards watch the step"
    verdict = judged(evidence(3, 50), guards=(FUNCTION,))
    assert verdict.passed
    assert verdict.why == "fine after 3 users with the flag: no guard compares errors"


def test_figures_are_strict_json() -> None:
    verdict = judged(evidence(errors=(2, 0)))
    assert verdict.guards[0].upper == math.inf
    stored = json.loads(json.dumps(verdict.figures(), allow_nan=False))
    assert stored["guards"][0]["upper"] is None
    assert stored["guards"][0]["failed"] == asdict(GuardCounts(inside=2))
    assert stored["brake"] == 3
