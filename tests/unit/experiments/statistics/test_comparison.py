"""Effects and sample sizes, against statsmodels."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats._delta_method import NonlinearDeltaCov
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flagstaff.experiments.statistics import (
    Conversions,
    Effect,
    Estimate,
    Sums,
    difference,
    least_units_of_mean,
    least_units_of_proportion,
    lift,
    mean,
    missing_contributors,
    proportion,
    ratio,
    units_for_means,
    units_for_proportions,
)
from tests.support.experiment_sums import pair_sums_of, sums_of


def test_proportion_needs_ten_conversions_and_ten_others() -> None:
    sizes = [(9, 100), (10, 100), (90, 100), (91, 100)]
    found = [proportion(Conversions(units, converted)).is_enough for converted, units in sizes]
    assert found == [False, True, True, False]


def samples(seed: int) -> tuple[list[float], list[float]]:
    source = random.Random(seed)
    control = [source.lognormvariate(1, 1) for _ in range(300)]
    treatment = [source.gauss(-2, 5) for _ in range(120)]
    return control, treatment


@pytest.mark.parametrize("seed", range(3))
def test_difference_of_means_has_the_standard_error_of_statsmodels(seed: int) -> None:
    control, treatment = samples(seed)
    theirs = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    effect = difference(*(mean(sums_of(one)) for one in (control, treatment)))
    assert effect.value == pytest.approx(np.mean(treatment) - np.mean(control), rel=1e-9)
    assert effect.standard_error == pytest.approx(theirs.std_meandiff_separatevar, rel=1e-9)
    # Huge values of the other sign keep their digits.
    huge = [mean(sums_of([-1e150 * one for one in units])) for units in (control, treatment)]
    assert difference(*huge).standard_error == pytest.approx(1e150 * effect.standard_error)


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
    arm = Estimate(100, 1.0, 0.2, True)
    for value, expected in [(2.01, True), (1.99, False), (0.0, False), (-1.0, False)]:
        found = lift(Estimate(100, value, 0.2, True), arm)
        assert (found is not None) == expected
    assert lift(proportion(Conversions(100, 0)), proportion(Conversions(100, 5))) is None
    # Numbers that would overflow.
    tiny = Estimate(100, 5e-324, 0.0, True)
    assert lift(tiny, Estimate(100, 1e300, 1.0, True)) is None
    small = Estimate(100, 1e-200, 1e-202, True)
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
    assert effect == Effect(4, 1.0, 0.0, False)


def test_mean_of_few_buyers_is_silent() -> None:
    for buyers, expected in [(0, False), (49, False), (50, True)]:
        assert mean(Sums(1_000, buyers, buyers)).is_enough == expected
    # One large amount among many small ones counts nearly alone.
    assert not mean(Sums(1_000, 1_000 + 500, 1_000 + 250_000)).is_enough


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


def test_arm_without_values_misses_all_contributors() -> None:
    assert missing_contributors(pair_sums_of([0.0] * 9, [0.0] * 9)) == 50


# Sample sizes.

DESIGNS = [(0.8, 0.05), (0.9, 0.01), (0.5, 0.05)]


@pytest.mark.parametrize(("power", "alpha"), DESIGNS)
@pytest.mark.parametrize(
    ("control", "treatment"), [(0.1, 0.12), (0.5, 0.4), (0.001, 0.0012), (0.9, 0.99)]
)
def test_units_for_proportions_equal_those_of_statsmodels(
    control: float, treatment: float, power: float, alpha: float
) -> None:
    expected = samplesize_proportions_2indep_onetail(
        control - treatment, treatment, power, alpha=alpha, alternative="two-sided"
    )
    found = units_for_proportions(control, treatment, power=power, alpha=alpha)
    assert found == math.ceil(expected)


@pytest.mark.parametrize(("power", "alpha"), DESIGNS)
@pytest.mark.parametrize(("deviation", "effect"), [(10, 1), (2.5, -0.01), (1e6, 1e5)])
def test_units_for_means_equal_those_of_statsmodels(
    deviation: float, effect: float, power: float, alpha: float
) -> None:
    # One tail, because the other one is not counted as seeing the effect.
    expected = NormalIndPower().solve_power(
        effect_size=abs(effect) / deviation, alpha=alpha / 2, power=power, alternative="larger"
    )
    found = units_for_means(deviation, effect, power=power, alpha=alpha)
    assert found == pytest.approx(expected, rel=1e-9, abs=1)
    assert found >= expected * (1 - 1e-9)


def test_least_units_have_enough_values_on_average() -> None:
    assert least_units_of_proportion(0.99) == least_units_of_proportion(0.01) == 1_000
    # A hundredth of the units has 1, so 5,000 have 50 of them.
    assert least_units_of_mean(0.01, math.sqrt(0.01 * 0.99)) == 5_000
    assert least_units_of_mean(5.0, 1.0) == 100
