"""Effects at a fixed horizon, against statsmodels and against the delta method by hand."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.stats._delta_method import NonlinearDeltaCov
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flagstaff.experiments.statistics import (
    Comparison,
    Conversions,
    Effect,
    Estimate,
    PairSums,
    Sums,
    compare_proportions,
    difference,
    fixed_horizon,
    fixed_lower_bound,
    lift,
    mean,
    proportion,
    ratio,
    wilson_interval,
)
from tests.support.experiment_sums import pair_sums_of, sums_of

PAIRS = [
    (Conversions(1000, 100), Conversions(1100, 140)),
    (Conversions(50, 0), Conversions(60, 3)),
    (Conversions(50, 50), Conversions(60, 57)),
    (Conversions(7, 3), Conversions(90_000, 40_000)),
    (Conversions(10**9, 10**8), Conversions(10**9, 10**8 + 50_000)),
]
ALPHAS = [0.1, 0.05, 0.001]


@pytest.mark.parametrize(("control", "treatment"), PAIRS)
def test_p_value_of_proportions_is_that_of_the_pooled_z_test(
    control: Conversions, treatment: Conversions
) -> None:
    counts = [treatment.converted, control.converted]
    _, expected = proportions_ztest(counts, [treatment.users, control.users])
    found = compare_proportions(control, treatment)
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("control", "treatment"), PAIRS)
def test_interval_of_proportions_is_that_of_newcombe(
    control: Conversions, treatment: Conversions, alpha: float
) -> None:
    low, high = confint_proportions_2indep(
        treatment.converted,
        treatment.users,
        control.converted,
        control.users,
        method="newcomb",
        compare="diff",
        alpha=alpha,
    )
    found = compare_proportions(control, treatment, alpha)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("arm", [arm for pair in PAIRS for arm in pair], ids=str)
def test_interval_of_one_proportion_is_that_of_wilson(arm: Conversions) -> None:
    expected = proportion_confint(arm.converted, arm.users, method="wilson")
    assert wilson_interval(arm) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("converted", [0, 40])
def test_proportions_without_or_with_all_conversions_say_nothing(converted: int) -> None:
    arm = Conversions(40, converted)
    found = compare_proportions(arm, arm)
    assert found.p_value == 1
    assert -0.1 < found.low < 0 < found.high < 0.1
    assert not proportion(arm).is_enough


def test_proportion_of_one_user_has_an_interval() -> None:
    found = compare_proportions(Conversions(1, 0), Conversions(1, 1))
    assert -1 <= found.low <= found.value == 1 == found.high


def test_proportion_needs_ten_conversions_and_ten_others() -> None:
    sizes = [(9, 100), (10, 100), (90, 100), (91, 100)]
    found = [proportion(Conversions(users, converted)).is_enough for converted, users in sizes]
    assert found == [False, True, True, False]


def samples(seed: int) -> tuple[list[float], list[float]]:
    source = random.Random(seed)
    control = [source.lognormvariate(1, 1) for _ in range(300)]
    treatment = [source.gauss(-2, 5) for _ in range(40)]
    return control, treatment


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", range(3))
def test_comparison_of_means_is_that_of_welch(seed: int, alpha: float) -> None:
    control, treatment = samples(seed)
    theirs = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    _, p_value, freedom = theirs.ttest_ind(usevar="unequal")
    low, high = theirs.tconfint_diff(alpha=alpha, usevar="unequal")
    effect = difference(mean(sums_of(control)), mean(sums_of(treatment)))
    found = fixed_horizon(effect, alpha)
    assert effect.degrees_of_freedom == pytest.approx(freedom, rel=1e-9)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_lower_bound_of_means_is_that_of_the_one_sided_test() -> None:
    control, treatment = samples(4)
    theirs = CompareMeans(DescrStatsW(control), DescrStatsW(treatment))
    low, _ = theirs.tconfint_diff(alpha=0.05, usevar="unequal", alternative="larger")
    effect = difference(mean(sums_of(treatment)), mean(sums_of(control)))
    assert fixed_lower_bound(effect, 0.05) == pytest.approx(low, rel=1e-9)


def test_lift_has_the_standard_error_of_the_delta_method() -> None:
    control, treatment = mean(Sums(400, 800, 2_000)), mean(Sums(300, 690, 2_000))
    theirs = NonlinearDeltaCov(
        lambda both: both[1:] / both[:1] - 1,
        np.array([control.value, treatment.value]),
        np.diag([control.standard_error**2, treatment.standard_error**2]),
        deriv=lambda both: np.array([[-both[1] / both[0] ** 2, 1 / both[0]]]),
    )
    found = lift(control, treatment)
    assert found is not None
    assert found.value == pytest.approx(theirs.predicted()[0], rel=1e-9)
    assert found.standard_error == pytest.approx(theirs.se_vectorized()[0], rel=1e-9)


def test_lift_needs_a_control_well_above_zero() -> None:
    arm = Estimate(100, 1.0, 0.2, 99, True)
    for value, expected in [(2.01, True), (1.99, False), (0.0, False), (-1.0, False)]:
        found = lift(Estimate(100, value, 0.2, 99, True), arm)
        assert (found is not None) == expected
    assert lift(proportion(Conversions(100, 0)), proportion(Conversions(100, 5))) is None


def test_lift_of_the_smallest_control_does_not_overflow() -> None:
    tiny = Estimate(100, 5e-324, 0.0, 99, True)
    assert lift(tiny, Estimate(100, 1e300, 1.0, 99, True)) is None
    small = Estimate(100, 1e-200, 1e-202, 99, True)
    found = lift(small, small)
    assert found is not None
    assert found.standard_error == pytest.approx(math.sqrt(2) / 100)


def test_ratio_has_the_standard_error_of_the_delta_method_of_users() -> None:
    source = random.Random(5)
    views = [float(source.randint(1, 30)) for _ in range(400)]
    clicks = [source.gauss(0.3, 0.1) * one for one in views]
    covariance = np.cov(clicks, views) / len(views)
    theirs = NonlinearDeltaCov(
        lambda both: both[:1] / both[1:],
        np.array([np.mean(clicks), np.mean(views)]),
        covariance,
        deriv=lambda both: np.array([[1 / both[1], -both[0] / both[1] ** 2]]),
    )
    found = ratio(pair_sums_of(clicks, views))
    assert found.value == pytest.approx(sum(clicks) / sum(views), rel=1e-12)
    assert found.standard_error == pytest.approx(theirs.se_vectorized()[0], rel=1e-9)
    shifted = ratio(pair_sums_of(clicks, views, y_shift=3, x_shift=10))
    assert shifted.value == pytest.approx(found.value, rel=1e-12)
    assert shifted.standard_error == pytest.approx(found.standard_error, rel=1e-9)


def test_standard_error_of_a_ratio_is_that_of_repeated_samples() -> None:
    source, values, errors = random.Random(6), [], []
    for _ in range(300):
        views = [float(source.randint(1, 20)) for _ in range(200)]
        clicks = [source.betavariate(2, 5) * one for one in views]
        found = ratio(pair_sums_of(clicks, views))
        values.append(found.value)
        errors.append(found.standard_error)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.12)


def test_effect_without_spread_says_nothing() -> None:
    effect = difference(mean(Sums(2, 2, 2)), mean(Sums(2, 4, 8)))
    assert effect == Effect(4, 1.0, 0.0, math.inf, False)
    assert fixed_horizon(effect) == Comparison(1.0, 0.0, -math.inf, math.inf, 1.0)
    assert fixed_lower_bound(effect) == -math.inf


def test_means_of_negative_and_huge_values_are_compared() -> None:
    control, treatment = samples(7)
    huge = [-1e150 * one for one in control], [-1e150 * one for one in treatment]
    plain = fixed_horizon(difference(mean(sums_of(treatment)), mean(sums_of(control))))
    found = fixed_horizon(difference(*(mean(sums_of(one)) for one in huge)))
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-9)
    assert found.low == pytest.approx(plain.low * 1e150, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: proportion(Conversions(0, 0)), "users is 0"),
        (lambda: compare_proportions(Conversions(0, 0), Conversions(1, 0)), "control_users is 0"),
        (lambda: compare_proportions(Conversions(1, 0), Conversions(0, 0)), "treatment_users"),
        (lambda: compare_proportions(Conversions(1, 0), Conversions(1, 0), 0), "alpha"),
        (lambda: mean(Sums(0, 0, 0)), "users is 0"),
        (lambda: mean(Sums(1, 5, 25)), "users is 1"),
        (lambda: ratio(PairSums(1, 1, 1, 1, 1, 1)), "users is 1"),
        (lambda: ratio(PairSums(2, 1, 1, 0, 0, 0)), "the mean of x is 0.0"),
        (lambda: ratio(PairSums(2, 1, 1, -2, 2, -1)), "the mean of x is -1.0"),
        (lambda: Estimate(1, math.nan, 1, 1, True), "value"),
        (lambda: Estimate(1, 1, math.inf, 1, True), "standard_error"),
        (lambda: Estimate(1, 1, -1, 1, True), "standard_error"),
        (lambda: Estimate(-1, 1, 1, 1, True), "users"),
        (lambda: Effect(1, 1, 1, math.nan, True), "degrees_of_freedom"),
        (lambda: Effect(1, math.inf, 1, 1, True), "value"),
        (lambda: fixed_horizon(Effect(1, 1, 1, 1, True), math.nan), "alpha"),
        (lambda: fixed_lower_bound(Effect(1, 1, 1, 1, True), 0.7), "alpha"),
        (lambda: Comparison(1, 1, math.nan, 1, 0.5), "low"),
        (lambda: Comparison(1, 1, 0, 1, math.nan), "p_value"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()


def test_mean_of_few_buyers_is_silent_unless_values_are_signed() -> None:
    for buyers, expected in [(0, False), (49, False), (50, True)]:
        arm = Sums(1_000, buyers, buyers)
        assert mean(arm).is_enough == expected
        assert mean(arm, is_signed=True).is_enough
    # One large amount among many small ones counts nearly alone.
    assert not mean(Sums(1_000, 1_000 + 500, 1_000 + 250_000)).is_enough
    assert mean(Sums(1_000, -5, 1_000), is_signed=True).is_enough
