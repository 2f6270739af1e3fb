"""Effects and sample sizes at a fixed horizon, against statsmodels."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from statsmodels.stats._delta_method import NonlinearDeltaCov
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportions_ztest,
    samplesize_proportions_2indep_onetail,
)
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flagstaff.experiments.statistics import (
    Comparison,
    Conversions,
    Design,
    Effect,
    Estimate,
    SampleSize,
    Sums,
    compare_proportions,
    days_needed,
    detectable_mean_difference,
    detectable_proportion,
    difference,
    fixed_horizon,
    fixed_lower_bound,
    has_enough_together,
    least_units_of_mean,
    least_units_of_proportion,
    lift,
    mean,
    missing_contributors,
    proportion,
    ratio,
    sample_size_of_means,
    sample_size_of_proportions,
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


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("control", "treatment"), PAIRS)
def test_comparison_of_proportions_is_that_of_newcombe_and_the_pooled_z_test(
    control: Conversions, treatment: Conversions, alpha: float
) -> None:
    low, high = confint_proportions_2indep(
        treatment.converted,
        treatment.units,
        control.converted,
        control.units,
        method="newcomb",
        compare="diff",
        alpha=alpha,
    )
    counts = [treatment.converted, control.converted]
    _, p_value = proportions_ztest(counts, [treatment.units, control.units])
    found = compare_proportions(control, treatment, alpha)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-14)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("converted", [0, 40])
def test_proportions_without_or_with_all_conversions_say_nothing(converted: int) -> None:
    arm = Conversions(40, converted)
    found = compare_proportions(arm, arm)
    assert found.p_value == 1
    assert -0.1 < found.low < 0 < found.high < 0.1
    assert not proportion(arm).is_enough


def test_proportion_of_one_unit_has_an_interval() -> None:
    found = compare_proportions(Conversions(1, 0), Conversions(1, 1))
    assert -1 <= found.low <= found.value == 1 == found.high


def test_proportion_needs_ten_conversions_and_ten_others() -> None:
    sizes = [(9, 100), (10, 100), (90, 100), (91, 100)]
    found = [proportion(Conversions(units, converted)).is_enough for converted, units in sizes]
    assert found == [False, True, True, False]


def samples(seed: int) -> tuple[list[float], list[float]]:
    source = random.Random(seed)
    control = [source.lognormvariate(1, 1) for _ in range(300)]
    treatment = [source.gauss(-2, 5) for _ in range(120)]
    return control, treatment


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", range(3))
def test_comparison_of_means_is_that_of_welch(seed: int, alpha: float) -> None:
    control, treatment = samples(seed)
    theirs = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    _, p_value, freedom = theirs.ttest_ind(usevar="unequal")
    low, high = theirs.tconfint_diff(alpha=alpha, usevar="unequal")
    effect = difference(
        mean(sums_of(control), is_signed=True), mean(sums_of(treatment), is_signed=True)
    )
    found = fixed_horizon(effect, alpha)
    assert effect.degrees_of_freedom == pytest.approx(freedom, rel=1e-9)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    low, _ = theirs.tconfint_diff(alpha=alpha, usevar="unequal", alternative="larger")
    assert fixed_lower_bound(effect, alpha) == pytest.approx(low, rel=1e-9)


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
    # Numbers that would overflow.
    tiny = Estimate(100, 5e-324, 0.0, 99, True)
    assert lift(tiny, Estimate(100, 1e300, 1.0, 99, True)) is None
    small = Estimate(100, 1e-200, 1e-202, 99, True)
    found = lift(small, small)
    assert found is not None
    assert found.standard_error == pytest.approx(math.sqrt(2) / 100)


def test_ratio_has_the_standard_error_of_the_delta_method_of_units() -> None:
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


def test_effect_without_spread_says_nothing() -> None:
    effect = difference(mean(Sums(2, 2, 2)), mean(Sums(2, 4, 8)))
    assert effect == Effect(4, 1.0, 0.0, math.inf, False)
    assert fixed_horizon(effect) == Comparison(1.0, 0.0, -math.inf, math.inf, 1.0)
    assert fixed_lower_bound(effect) == -math.inf


def test_means_of_negative_and_huge_values_are_compared() -> None:
    control, treatment = samples(7)
    huge = [-1e150 * one for one in control], [-1e150 * one for one in treatment]
    signed = partial(mean, is_signed=True)
    plain = fixed_horizon(difference(signed(sums_of(treatment)), signed(sums_of(control))))
    found = fixed_horizon(difference(*(signed(sums_of(one)) for one in huge)))
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-9)
    assert found.low == pytest.approx(plain.low * 1e150, rel=1e-9)


def test_mean_of_few_buyers_is_silent_unless_values_are_signed() -> None:
    for buyers, expected in [(0, False), (49, False), (50, True)]:
        arm = Sums(1_000, buyers, buyers)
        assert mean(arm).is_enough == expected
        assert mean(arm, is_signed=True).is_enough
    # One large amount among many small ones counts nearly alone.
    assert not mean(Sums(1_000, 1_000 + 500, 1_000 + 250_000)).is_enough
    assert mean(Sums(1_000, -5, 1_000), is_signed=True).is_enough


def test_one_look_without_enough_units_says_nothing() -> None:
    effect = Effect(1_000, 0.5, 0.1, 998.0, False)
    assert fixed_horizon(effect) == Comparison(0.5, 0.1, -math.inf, math.inf, 1.0)
    assert fixed_lower_bound(effect) == -math.inf


@pytest.mark.parametrize("amounts", [[1.0], [1.0, 9.0], [0.5, 1.0, 40.0]])
def test_missing_contributors_are_enough_if_they_are_like_the_others(amounts: list[float]) -> None:
    few = [*amounts * 3, *[0.0] * 900]
    arm = replace(pair_sums_of(few, few), contributors=3 * len(amounts))
    missing = missing_contributors(arm)
    assert missing > 0
    rounds = -(-(missing + arm.contributors) // len(amounts))
    more = [*amounts * rounds, *[0.0] * 900]
    assert mean(sums_of(more)).is_enough
    fewer = [*amounts * (rounds - 1), *[0.0] * 900]
    assert not mean(sums_of(fewer)).is_enough
    enough = replace(pair_sums_of(more, more), contributors=rounds * len(amounts))
    assert missing_contributors(enough) == 0


def test_one_look_needs_what_the_spread_of_both_arms_needs() -> None:
    # By chance, no unit of the small arm has a large amount.
    many = pair_sums_of([*[1.0] * 500, *[30.0] * 40, *[0.0] * 9_000], [0.0] * 9_540)
    few = replace(pair_sums_of([1.0] * 60 + [0.0] * 1_000, [0.0] * 1_060), contributors=60)
    together = [many.of_y, few.of_y]
    assert mean(few.of_y).is_enough
    assert not has_enough_together(together)
    assert (missing_contributors(few), missing_contributors(few, together) > 0) == (0, True)


def test_arm_without_values_misses_all_contributors() -> None:
    assert missing_contributors(pair_sums_of([0.0] * 9, [0.0] * 9)) == 50


# Sample sizes.

DESIGNS = [Design(), Design(0.01, 0.9), Design(ratio=1 / 3), Design(power=0.5, ratio=2.5)]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize(
    ("control", "treatment"), [(0.1, 0.12), (0.5, 0.4), (0.001, 0.0012), (0.9, 0.99)]
)
def test_sample_size_of_proportions_equals_that_of_statsmodels(
    control: float, treatment: float, design: Design
) -> None:
    # Theirs is the size of the first sample, and the ratio of the second to it.
    expected = samplesize_proportions_2indep_onetail(
        control - treatment,
        treatment,
        design.power,
        ratio=design.ratio,
        alpha=design.alpha,
        alternative="two-sided",
    )
    found = sample_size_of_proportions(control, treatment, design)
    assert found.control == math.ceil(expected)
    assert found.treatment == math.ceil(found.control * design.ratio)
    assert found.total == found.control + found.treatment


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize(("deviation", "effect"), [(10, 1), (2.5, -0.01), (1e6, 1e5)])
def test_sample_size_of_means_equals_that_of_statsmodels(
    deviation: float, effect: float, design: Design
) -> None:
    # One tail, because the other one is not counted as seeing the effect.
    expected = NormalIndPower().solve_power(
        effect_size=abs(effect) / deviation,
        alpha=design.alpha / 2,
        power=design.power,
        ratio=design.ratio,
        alternative="larger",
    )
    found = sample_size_of_means(deviation, effect, design)
    assert found.control == pytest.approx(expected, rel=1e-9, abs=1)
    assert found.control >= expected * (1 - 1e-9)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize(("control", "units"), [(0.1, 3841), (0.01, 1_000), (0.5, 10**9)])
def test_detectable_proportion_needs_the_given_units(
    control: float, units: int, design: Design
) -> None:
    found = detectable_proportion(control, units, design)
    assert found is not None
    assert sample_size_of_proportions(control, found * (1 + 1e-9), design).control <= units
    below = control + (found - control) * (1 - 1e-6)
    assert sample_size_of_proportions(control, below, design).control > units


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_detectable_mean_difference_needs_the_given_units(design: Design) -> None:
    found = detectable_mean_difference(3.0, 500, design)
    assert sample_size_of_means(3.0, found * (1 + 1e-9), design).control == 500
    assert sample_size_of_means(3.0, found * 0.999, design).control > 500


def test_too_few_units_detect_no_proportion() -> None:
    assert detectable_proportion(0.95, 20) is None
    assert detectable_proportion(0.5, 1) is None


def test_size_and_days_are_rounded_up() -> None:
    assert sample_size_of_proportions(0.1, 0.12) == SampleSize(3841, 3841)
    assert [days_needed(units, 10) for units in (0, 1, 100, 101)] == [0, 1, 10, 11]


def test_least_units_have_enough_values_on_average() -> None:
    assert least_units_of_proportion(0.99) == least_units_of_proportion(0.01) == 1_000
    # A hundredth of the units has 1, so 5,000 have 50 of them.
    assert least_units_of_mean(0.01, math.sqrt(0.01 * 0.99)) == 5_000
    assert least_units_of_mean(5.0, 1.0) == 100
