"""Sums of units and variance reduction, against statsmodels and the units themselves."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flagstaff.experiments.statistics import (
    PairSums,
    Sums,
    adjust,
    difference,
    lift,
    mean,
)
from tests.support.experiment_sums import pair_sums_of, sums_of

Units = tuple[list[float], list[float]]


def arm(units: int, seed: int, effect: float = 0.0, slope: float = 0.8) -> Units:
    """Returns y and x of the units of an arm."""
    source = random.Random(seed)
    x = [source.gauss(20, 4) for _ in range(units)]
    return [slope * one + effect + source.gauss(0, 2) for one in x], x


CONTROL, TREATMENT = arm(400, 1), arm(150, 2, 0.7)


def covariance(sums: PairSums) -> float:
    return float(sums.products / (sums.units - 1))


def test_mean_variance_and_covariance_are_those_of_the_units_of_all_hours() -> None:
    y, x = arm(500, 1)
    found = pair_sums_of(y[:100], x[:100]) + pair_sums_of(y[100:], x[100:])
    assert found.of_y.mean == pytest.approx(statistics.fmean(y), rel=1e-12)
    assert found.of_y.variance == pytest.approx(statistics.variance(y), rel=1e-12)
    assert covariance(found) == pytest.approx(statistics.covariance(y, x), rel=1e-12)
    # An empty hour adds nothing.
    assert found + PairSums(0, 0, 0, 0, 0, 0) == found


def test_shift_keeps_the_digits_that_large_means_lose() -> None:
    y, x = arm(500, 1)
    large = [1e8 + one for one in y]
    shifted = sums_of(large, shift=1e8)
    assert shifted.mean == pytest.approx(statistics.fmean(large), rel=1e-15)
    assert shifted.variance == pytest.approx(statistics.variance(y), rel=1e-6)
    # As the docstring says: without a shift only the first digits are left, if any.
    assert sums_of(large).variance != pytest.approx(statistics.variance(y), rel=1e-6)
    found = pair_sums_of(large, x, y_shift=1e8, x_shift=10)
    assert covariance(found) == pytest.approx(statistics.covariance(y, x), rel=1e-6)


def test_variance_of_huge_whole_sums_is_exact_and_that_of_equal_values_0() -> None:
    base = 10**30
    values = [base, base + 1, base + 2]
    assert Sums(3, sum(values), sum(value * value for value in values)).variance == 1
    assert sums_of([0.1] * 1000).variance == pytest.approx(0, abs=1e-15)
    assert sums_of([-5.0] * 3).variance == 0


# Variance reduction.


def theta_by_hand(*arms: Units) -> float:
    products = squares = 0.0
    for y, x in arms:
        mean_y, mean_x = statistics.fmean(y), statistics.fmean(x)
        products += sum((one - mean_y) * (other - mean_x) for one, other in zip(y, x, strict=True))
        squares += sum((other - mean_x) ** 2 for other in x)
    return products / squares


def test_adjusted_difference_is_that_of_an_analysis_of_covariance() -> None:
    y, x = np.array([*CONTROL[0], *TREATMENT[0]]), np.array([*CONTROL[1], *TREATMENT[1]])
    treated = np.repeat([0.0, 1.0], [len(CONTROL[0]), len(TREATMENT[0])])
    fitted = OLS(y, np.column_stack([np.ones(len(y)), treated, x])).fit()
    found = adjust([pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)])
    assert found.theta == pytest.approx(fitted.params[2], rel=1e-9)
    assert difference(*found.arms).value == pytest.approx(fitted.params[1], rel=1e-9)


def test_adjusted_standard_error_is_that_of_the_adjusted_units() -> None:
    theta = theta_by_hand(CONTROL, TREATMENT)
    units = [
        [one - theta * other for one, other in zip(y, x, strict=True)]
        for y, x in (TREATMENT, CONTROL)
    ]
    theirs = CompareMeans(*map(DescrStatsW, units))
    sums = [pair_sums_of(*one, y_shift=15, x_shift=20) for one in (CONTROL, TREATMENT)]
    found = difference(*adjust(sums).arms)
    assert found.standard_error == pytest.approx(theirs.std_meandiff_separatevar, rel=1e-9)


def test_variance_reduction_is_that_of_the_standard_errors() -> None:
    arms = [pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)]
    found = adjust(arms)
    plain, adjusted = difference(*(mean(one.of_y) for one in arms)), difference(*found.arms)
    expected = 1 - (adjusted.standard_error / plain.standard_error) ** 2
    assert found.variance_reduction == pytest.approx(expected, rel=1e-9)
    # The correlation in the population: 0.64·16 / (0.64·16 + 4).
    assert found.variance_reduction == pytest.approx(0.72, abs=0.05)
    # All units together keep their plain mean.
    total = sum(one.value * one.units for one in found.arms)
    assert total == pytest.approx(sum(one.y for one in arms), rel=1e-12)
    assert lift(*found.arms) is not None


def test_constant_value_before_or_metric_changes_nothing() -> None:
    y, _ = CONTROL
    sums = pair_sums_of(y, [0.0] * len(y))
    found = adjust([sums, sums])
    assert (found.theta, found.variance_reduction) == (0, 0)
    assert found.arms[0] == mean(sums.of_y)
    found = adjust([PairSums(3, 6, 12, 4, 8, 8)])
    assert (found.theta, found.variance_reduction) == (0, 0)
    assert found.arms[0].standard_error == 0
