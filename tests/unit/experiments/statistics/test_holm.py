"""Holm's correction, against statsmodels."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from statsmodels.stats.multitest import multipletests

from flagstaff.experiments.statistics import Effect, Plan, always_valid, holm

P_VALUES = [
    [0.01, 0.04, 0.03],
    [0.2],
    [0.0, 1.0],
    [0.02, 0.02, 0.02],
    [0.001, 0.9, 0.012, 0.0249, 0.03, 0.5],
    [1e-300, 0.05, 0.05],
]


@pytest.mark.parametrize("alpha", [0.1, 0.05])
@pytest.mark.parametrize("p_values", P_VALUES, ids=str)
def test_adjusted_p_values_equal_those_of_statsmodels(p_values: list[float], alpha: float) -> None:
    rejected, adjusted, *_ = multipletests(p_values, alpha=alpha, method="holm")
    found = holm(p_values, alpha)
    assert [one.p_value for one in found] == pytest.approx(list(adjusted), rel=1e-9)
    assert [one.is_rejected for one in found] == list(rejected)


@pytest.mark.parametrize("seed", range(20))
def test_interval_excludes_zero_exactly_if_the_metric_is_rejected(seed: int) -> None:
    source, plan = random.Random(seed), Plan(2_000)
    effects = [Effect(2_000, source.gauss(2.5, 1.5), 1.0, math.inf, True) for _ in range(5)]
    found = holm([always_valid(one, plan).p_value for one in effects])
    for effect, corrected in zip(effects, found, strict=True):
        interval = always_valid(effect, plan, corrected.interval_alpha)
        assert (interval.low > 0 or interval.high < 0) == corrected.is_rejected


def test_interval_levels_follow_the_steps() -> None:
    found = holm([0.04, 0.001, 0.04], 0.05)
    assert [one.interval_alpha for one in found] == [0.025, 0.05 / 3, 0.025]


def test_no_p_values_need_no_correction() -> None:
    assert holm([]) == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: holm([math.nan]), "p_values"),
        (lambda: holm([0.1, -0.1]), "p_values"),
        (lambda: holm([1.1]), "p_values"),
        (lambda: holm([0.1], 0), "alpha"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
