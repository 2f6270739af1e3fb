"""Variance reduction, against a regression of statsmodels and against the adjusted users."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flagstaff.experiments.statistics import (
    PairSums,
    adjust,
    difference,
    fixed_horizon,
    lift,
    mean,
)
from tests.support.experiment_sums import pair_sums_of

Users = tuple[list[float], list[float]]


def arm(users: int, seed: int, effect: float = 0.0, slope: float = 0.8) -> Users:
    """Returns y and x of the users of an arm."""
    source = random.Random(seed)
    x = [source.gauss(20, 4) for _ in range(users)]
    return [slope * one + effect + source.gauss(0, 2) for one in x], x


CONTROL, TREATMENT = arm(400, 1), arm(150, 2, 0.7)


def theta_by_hand(*arms: Users) -> float:
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


def test_adjusted_interval_is_that_of_the_adjusted_users() -> None:
    theta = theta_by_hand(CONTROL, TREATMENT)
    users = [
        [one - theta * other for one, other in zip(y, x, strict=True)]
        for y, x in (TREATMENT, CONTROL)
    ]
    theirs = CompareMeans(*map(DescrStatsW, users))
    low, high = theirs.tconfint_diff(usevar="unequal")
    sums = [pair_sums_of(*one, y_shift=15, x_shift=20) for one in (CONTROL, TREATMENT)]
    found = fixed_horizon(difference(*adjust(sums).arms))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_variance_reduction_is_that_of_the_standard_errors() -> None:
    arms = [pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)]
    found = adjust(arms)
    plain, adjusted = difference(*(mean(one.of_y) for one in arms)), difference(*found.arms)
    expected = 1 - (adjusted.standard_error / plain.standard_error) ** 2
    assert found.variance_reduction == pytest.approx(expected, rel=1e-9)
    # The correlation in the population: 0.64·16 / (0.64·16 + 4).
    assert found.variance_reduction == pytest.approx(0.72, abs=0.05)


def test_adjusted_means_of_all_users_have_the_plain_mean() -> None:
    arms = [pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)]
    adjusted = sum(one.value * one.users for one in adjust(arms).arms)
    assert adjusted == pytest.approx(sum(one.y for one in arms), rel=1e-12)
    assert lift(*adjust(arms).arms) is not None


def test_adjusted_effects_have_no_bias_and_the_standard_error() -> None:
    values, errors = [], []
    for seed in range(300):
        arms = [arm(80, 1000 + seed), arm(80, 5000 + seed, 0.5)]
        found = difference(*adjust([pair_sums_of(*one) for one in arms]).arms)
        values.append(found.value)
        errors.append(found.standard_error)
    spread = statistics.stdev(values)
    assert statistics.fmean(values) == pytest.approx(0.5, abs=4 * spread / 300**0.5)
    assert statistics.fmean(errors) == pytest.approx(spread, rel=0.15)


def test_constant_value_before_changes_nothing() -> None:
    y, _ = CONTROL
    sums = pair_sums_of(y, [0.0] * len(y))
    found = adjust([sums, sums])
    assert (found.theta, found.variance_reduction) == (0, 0)
    assert found.arms[0] == mean(sums.of_y)


def test_constant_metric_has_no_variance_to_reduce() -> None:
    found = adjust([PairSums(3, 6, 12, 4, 8, 8)])
    assert (found.theta, found.variance_reduction) == (0, 0)
    assert found.arms[0].standard_error == 0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: adjust([]), "arms is empty"),
        (lambda: adjust([PairSums(0, 0, 0, 0, 0, 0)]), "users is 0"),
        (lambda: adjust([PairSums(2, 2, 2, 2, 2, 2), PairSums(1, 1, 1, 1, 1, 1)]), "users is 1"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
