"""Sample sizes, against statsmodels and against simulated power."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from flagstaff.experiments.statistics import (
    Conversions,
    Design,
    SampleSize,
    compare_proportions,
    days_needed,
    detectable_mean_difference,
    detectable_proportion,
    sample_size_of_means,
    sample_size_of_proportions,
)

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
@pytest.mark.parametrize(("control", "users"), [(0.1, 3841), (0.01, 1_000), (0.5, 10**9)])
def test_detectable_proportion_needs_the_given_users(
    control: float, users: int, design: Design
) -> None:
    found = detectable_proportion(control, users, design)
    assert found is not None
    assert sample_size_of_proportions(control, found * (1 + 1e-9), design).control <= users
    below = control + (found - control) * (1 - 1e-6)
    assert sample_size_of_proportions(control, below, design).control > users


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_detectable_mean_difference_needs_the_given_users(design: Design) -> None:
    found = detectable_mean_difference(3.0, 500, design)
    assert sample_size_of_means(3.0, found * (1 + 1e-9), design).control == 500
    assert sample_size_of_means(3.0, found * 0.999, design).control > 500


def test_planned_size_has_the_planned_power() -> None:
    size, source = sample_size_of_proportions(0.3, 0.4), random.Random(1)
    seen = 0
    for _ in range(500):
        control = sum(source.random() < 0.3 for _ in range(size.control))
        treatment = sum(source.random() < 0.4 for _ in range(size.treatment))
        arms = Conversions(size.control, control), Conversions(size.treatment, treatment)
        seen += compare_proportions(*arms).p_value <= 0.05
    assert seen / 500 == pytest.approx(0.8, abs=0.05)


def test_too_few_users_detect_no_proportion() -> None:
    assert detectable_proportion(0.95, 20) is None
    assert detectable_proportion(0.5, 1) is None


@pytest.mark.parametrize(
    ("users", "per_day", "expected"), [(0, 10, 0), (1, 10, 1), (100, 10, 10), (101, 10, 11)]
)
def test_days_are_rounded_up(users: int, per_day: float, expected: int) -> None:
    assert days_needed(users, per_day) == expected


def test_size_of_equal_arms_is_that_of_the_formula() -> None:
    assert sample_size_of_proportions(0.1, 0.12) == SampleSize(3841, 3841)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Design(alpha=0), "alpha"),
        (lambda: Design(power=1), "power"),
        (lambda: Design(power=0.4), "power"),
        (lambda: Design(ratio=0), "ratio"),
        (lambda: Design(ratio=math.inf), "ratio"),
        (lambda: sample_size_of_proportions(0, 0.1), "control"),
        (lambda: sample_size_of_proportions(0.1, 1), "treatment"),
        (lambda: sample_size_of_proportions(0.1, 0.1), "treatment"),
        (lambda: sample_size_of_proportions(0.1, math.nan), "treatment"),
        (lambda: sample_size_of_means(0, 1), "standard_deviation"),
        (lambda: sample_size_of_means(1, 0), "effect"),
        (lambda: sample_size_of_means(1, math.nan), "effect"),
        (lambda: sample_size_of_means(1e200, 1e-200), "users"),
        (lambda: detectable_proportion(0.1, 0), "users"),
        (lambda: detectable_proportion(1.1, 10), "control"),
        (lambda: detectable_mean_difference(math.inf, 10), "standard_deviation"),
        (lambda: detectable_mean_difference(1, 0), "users"),
        (lambda: days_needed(10, 0), "users_per_day"),
        (lambda: days_needed(-1, 1), "users"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
