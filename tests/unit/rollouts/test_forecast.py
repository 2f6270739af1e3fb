"""The forecast of a rollout plan, against simulated plans."""

from __future__ import annotations

import doctest
import math
import random

import pytest

from flagstaff.rollouts import forecast as module
from flagstaff.rollouts import statistics
from flagstaff.rollouts.forecast import Traffic, forecast, seconds_to_trip, traffic_of
from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.verdict import Evidence, GuardCounts, judge

STEPS = [*(Step(percent, 3600) for percent in (1, 5, 25, 50)), Step(100, 0)]
ERRORS = Guard("errors")
SLOW = Guard("latency", seconds=0.5)
BUSY = Traffic(20_000, {0: 200, 2: 300})


def test_examples_in_docstrings_are_correct() -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def simulated_mean(percent: int, threshold: float, ratio: float, plans: int) -> float:
    """Returns the mean time of trips at 100 failing users an hour, one user after the other."""
    source, theta = random.Random(f"{percent} {threshold}"), percent / 100
    raised = theta * (1 + 2 * statistics.share_error(theta, 1 - theta))
    # Failing users an hour with harm, and the share of them who are inside.
    rate, chance = 100 * (theta * ratio + 1 - theta), statistics.q(theta, ratio)
    total = 0.0
    for _ in range(plans):
        inside = outside = 0
        # The e-value only rises with a failure inside, so only those can trip.
        while True:
            outside += int(math.log(1 - source.random()) / math.log1p(-chance))
            inside += 1
            if statistics.e_value(inside, outside, raised) >= threshold:
                break
        total += (inside + outside) / rate * 3600
    return total / plans


@pytest.mark.parametrize("percent", [1, 5, 25, 50])
@pytest.mark.parametrize(("threshold", "ratio"), [(100, 2), (300, 2), (300, 5)])
def test_forecast_time_is_near_the_mean_of_simulated_plans(
    percent: int, threshold: float, ratio: float
) -> None:
    found = seconds_to_trip(100, percent, threshold, ratio)
    assert found is not None
    mean = simulated_mean(percent, threshold, ratio, plans=150)
    assert found == pytest.approx(mean, rel=0.35)


def test_forecast_time_is_inverse_to_the_failures() -> None:
    slow, fast = (seconds_to_trip(rate, 5, 100, 2) or 0.0 for rate in (10, 1000))
    assert slow / fast == pytest.approx(100, rel=0.01)


def test_harm_that_is_tolerated_never_trips() -> None:
    assert seconds_to_trip(100, 5, 100, ratio=2, tolerated=2.5) is None
    assert seconds_to_trip(100, 5, 100, ratio=1) is None


def test_no_failures_never_trip() -> None:
    assert seconds_to_trip(0, 5, 100, ratio=2) is None
    assert seconds_to_trip(100, 100, 100, ratio=2) is None


def test_smallest_ratio_trips_in_four_of_five_judged_steps() -> None:
    step = forecast(STEPS, [ERRORS], BUSY, 1000)[1]
    ratio = step.guards[0].smallest_ratio
    assert ratio is not None
    source, trips = random.Random(1), 0
    for _ in range(300):
        inside = sum(source.random() < 0.01 * ratio for _ in range(1000))
        outside = round(source.gauss(190, math.sqrt(190)))
        counts = {0: GuardCounts(inside, outside)}
        error = statistics.share_error(1000, 19_000)
        found = judge(STEPS, 1, [ERRORS], Evidence(1000, 19_000, error, counts, (9, 9)), 1000)
        trips += found.trip == "errors"
    assert trips / 300 == pytest.approx(0.8, abs=0.1)


def test_forecast_of_a_step_has_figures_and_text() -> None:
    found = forecast(STEPS, [ERRORS, SLOW], BUSY, 1000)
    first, second = found[:2]
    assert [step.percent for step in found] == [1, 5, 25, 50, 100]
    assert (first.users_inside, first.seconds_for_users) == (200, 18_000)
    assert [guard.number for guard in second.guards] == [0, 2]
    assert first.text == (
        "1 %: 200 users inside in 1 h, 1,000 after 5 h. "
        "Errors: twice as many failures inside trip after at least 10 h 18 min, "
        "5.8 times as many within 1 h, "
        "at best 2.8 times as many with 1,000 users. "
        "Latency over 0.5 s: twice as many failures inside trip after at least 6 h 52 min, "
        "4.7 times as many within 1 h, at best 2.4 times as many with 1,000 users."
    )
    assert second.text == (
        "5 %: 1,000 users inside in 1 h. "
        "Errors: twice as many failures inside trip after at least 2 h 10 min, "
        "2.8 times as many within 1 h. "
        "Latency over 0.5 s: twice as many failures inside trip after at least 1 h 27 min, "
        "2.4 times as many within 1 h."
    )


def test_forecast_within_the_time_of_measuring_is_no_lower_bound() -> None:
    day = Traffic(20_000, {0: 200}, measured=86_400)
    assert forecast(STEPS, [ERRORS], day, 1000)[0].text == (
        "1 %: 200 users inside in 1 h, 1,000 after 5 h. "
        "Errors: twice as many failures inside trip after about 9 h 12 min, "
        "5.6 times as many within 1 h, "
        "2.7 times as many with 1,000 users."
    )


def test_more_users_inside_shorten_the_time() -> None:
    found = forecast(STEPS, [ERRORS], BUSY, 1000)[:-1]
    times = [step.guards[0].seconds_to_double or 0.0 for step in found]
    ratios = [step.guards[0].smallest_ratio or 0.0 for step in found]
    assert times == sorted(times, reverse=True)
    assert ratios == sorted(ratios, reverse=True)


def test_step_without_failures_names_the_brake() -> None:
    found = forecast(STEPS, [ERRORS, SLOW], Traffic(20_000, {}), 1000)[1]
    guard = found.guards[0]
    assert (guard.seconds_to_double, guard.smallest_ratio) == (None, None)
    assert found.text == (
        "5 %: 1,000 users inside in 1 h. "
        "Errors and latency over 0.5 s: no failures to compare with. "
        "The brake trips at 3 failing users inside if no user outside fails."
    )


def test_brake_of_the_forecast_is_that_of_the_verdict() -> None:
    for index, step in enumerate(forecast(STEPS, [ERRORS], BUSY, 1000)):
        inside, outside = step.percent * 1000, (100 - step.percent) * 1000
        error = statistics.share_error(inside, outside)
        evidence = Evidence(inside, outside, error, {}, (9, 9))
        assert judge(STEPS, index, [ERRORS], evidence, 1000).brake == step.brake


def test_brake_is_off_above_fifty_percent() -> None:
    found = forecast([Step(60, 3600)], [ERRORS], Traffic(20_000, {}), 1000)[0]
    assert found.brake is None
    assert "brake" not in found.text


def test_step_without_traffic_sees_nothing() -> None:
    found = forecast(STEPS, [ERRORS], Traffic(0, {}), 1000)[1]
    assert found.seconds_for_users is None
    assert found.text == (
        "5 %: no user was counted, so there is no forecast. "
        "The brake trips at 3 failing users inside if no user outside fails."
    )


def test_ratio_that_needs_more_failures_than_users_is_not_promised() -> None:
    found = forecast(STEPS, [ERRORS], Traffic(300, {0: 1}), 1000)[0]
    assert found.guards[0].smallest_ratio is None
    assert "no harm trips within 1 h" in found.text


def test_step_of_all_users_compares_nothing() -> None:
    found = forecast(STEPS, [ERRORS], BUSY, 1000)[-1]
    assert (found.guards, found.brake) == ((), None)
    assert found.text == "100 %: no user is outside, so only callable guards watch this step."


def test_traffic_takes_the_failing_share_from_outside() -> None:
    counts = {0: GuardCounts(inside=500, outside=190), 2: GuardCounts(outside=380)}
    found = traffic_of(Evidence(1_000, 19_000, 0.02, counts, (9, 9)), 1800)
    assert found.users_per_hour == 40_000
    assert found.failing_per_hour == {0: pytest.approx(400), 2: pytest.approx(800)}


def test_traffic_with_all_users_inside_takes_it_from_there() -> None:
    counts = {0: GuardCounts(inside=50, outside=0)}
    assert traffic_of(Evidence(1_000, 0, 0.02, counts, (0, 9)), 3600).failing_per_hour == {0: 50}
    assert traffic_of(Evidence(0, 0, 0.02, counts, (0, 0)), 3600) == Traffic(0, {0: 0}, 3600)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_traffic_of_no_time_is_rejected(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        traffic_of(Evidence(1, 1, 0, {}, (1, 1)), seconds)
