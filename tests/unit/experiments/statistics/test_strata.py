"""Phases with weights of their own, against the weighted users, and Simpson's paradox."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.regression.linear_model import WLS

from flagstaff.experiments.statistics import (
    Comparison,
    Conversions,
    Effect,
    Estimate,
    Plan,
    Sums,
    adjust,
    always_valid,
    combine,
    difference,
    estimate_strata,
    fixed_horizon,
    mean,
    proportion,
)
from tests.support.experiment_sums import pair_sums_of, sums_of

Phase = tuple[Conversions, Conversions]

# The treatment wins on both days by a fifth, but the second day is worse for all.
SIMPSON: Mapping[str, Phase] = {
    "99/1": (Conversions(99_000, 19_800), Conversions(1_000, 240)),
    "50/50": (Conversions(50_000, 5_000), Conversions(50_000, 6_000)),
}


def effect_of(phases: Mapping[str, Phase]) -> Effect:
    return difference(*combine(estimate_strata(phases, proportion)))


def test_treatment_that_wins_each_day_wins_in_the_strata_and_loses_when_pooled() -> None:
    for control, treatment in SIMPSON.values():
        assert proportion(treatment).value > proportion(control).value
    (control, treatment), (later_control, later_treatment) = SIMPSON.values()
    pooled = difference(
        proportion(control + later_control), proportion(treatment + later_treatment)
    )
    assert fixed_horizon(pooled).high < 0
    found = fixed_horizon(effect_of(SIMPSON))
    assert found.low > 0
    # Both days have as many users: the mean of 4 and 2 points.
    assert found.value == pytest.approx(0.03)
    assert always_valid(effect_of(SIMPSON), Plan(200_000)).low > 0


def test_combined_effect_equals_a_weighted_regression() -> None:
    source = random.Random(1)
    phases = {
        name: tuple([source.gauss(base + arm, 1 + arm) for _ in range(size)] for arm, size in arms)
        for name, base, arms in [("a", 5, [(0, 400), (1, 20)]), ("b", 9, [(0, 90), (1, 110)])]
    }
    # Each user has the weight of the phase, divided by the users of the arm in it.
    values, treated, weights = [], [], []
    everyone = sum(len(arm) for arms in phases.values() for arm in arms)
    for arms in phases.values():
        share = sum(map(len, arms)) / everyone
        for number, arm in enumerate(arms):
            values += arm
            treated += [float(number)] * len(arm)
            weights += [share / len(arm)] * len(arm)
    design = np.column_stack([np.ones(len(values)), treated])
    fitted = WLS(values, design, weights=weights).fit()
    sums = {name: (sums_of(arms[0]), sums_of(arms[1])) for name, arms in phases.items()}
    found = difference(*combine(estimate_strata(sums, mean)))
    assert found.value == pytest.approx(fitted.params[1], rel=1e-9)
    variance = 0.0
    for arms in phases.values():
        share = sum(map(len, arms)) / everyone
        variance += share**2 * sum(statistics.variance(arm) / len(arm) for arm in arms)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_combined_effects_have_no_bias_and_the_standard_error() -> None:
    source = random.Random(2)
    values, errors = [], []
    for _ in range(400):
        phases = {}
        for name, base, sizes in [("a", 0.2, (900, 60)), ("b", 0.5, (300, 300))]:
            arms = [
                Conversions(size, sum(source.random() < base + 0.1 * arm for _ in range(size)))
                for arm, size in enumerate(sizes)
            ]
            phases[name] = (arms[0], arms[1])
        found = effect_of(phases)
        values.append(found.value)
        errors.append(found.standard_error)
    spread = statistics.stdev(values)
    assert statistics.fmean(values) == pytest.approx(0.1, abs=4 * spread / 20)
    assert statistics.fmean(errors) == pytest.approx(spread, rel=0.12)


def test_one_stratum_changes_nothing() -> None:
    control, treatment = mean(Sums(40, 60, 100)), mean(Sums(30, 50, 120))
    found = combine({"only": (control, treatment)})
    for one, expected in zip(found, (control, treatment), strict=True):
        assert one.value == pytest.approx(expected.value, rel=1e-15)
        assert one.standard_error == pytest.approx(expected.standard_error, rel=1e-15)
        assert one.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom, rel=1e-12)


def test_equal_strata_are_as_precise_as_their_union() -> None:
    half = mean(Sums(1000, 0, 999))
    whole = combine({"a": (half, half), "b": (half, half)})[0]
    assert whole.standard_error == pytest.approx(half.standard_error / math.sqrt(2), rel=1e-12)
    assert whole.degrees_of_freedom == pytest.approx(2 * half.degrees_of_freedom, rel=1e-12)


def test_adjusted_means_are_combined() -> None:
    source = random.Random(3)
    strata = {}
    for name in "ab":
        arms = []
        for effect in (0.0, 1.0):
            x = [source.gauss(0, 3) for _ in range(300)]
            arms.append(pair_sums_of([one + effect + source.gauss(0, 1) for one in x], x))
        control, treatment = adjust(arms).arms
        strata[name] = (control, treatment)
    found = fixed_horizon(difference(*combine(strata)))
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.25


def test_result_is_silent_until_each_stratum_has_enough() -> None:
    early = {**SIMPSON, "new": (Conversions(30, 3), Conversions(30, 12))}
    assert not effect_of(early).is_enough
    found = always_valid(effect_of(early), Plan(200_000))
    assert found == Comparison(found.value, found.standard_error, -math.inf, math.inf, 1.0)


@pytest.mark.parametrize("arm", ["control", "treatment"])
def test_stratum_without_users_in_an_arm_is_refused_by_name(arm: str) -> None:
    none, some = Conversions(0, 0), Conversions(50, 20)
    pair = (none, some) if arm == "control" else (some, none)
    with pytest.raises(ValueError, match=f"^phase 2, {arm}: users is 0"):
        estimate_strata({"phase 1": (some, some), "phase 2": pair}, proportion)
    full = Estimate(50, 0.4, 0.1, math.inf, True)
    empty = replace(full, users=0)
    estimates = (empty, full) if arm == "control" else (full, empty)
    with pytest.raises(ValueError, match=f"^phase 2: {arm} has no users"):
        combine({"phase 1": (full, full), "phase 2": estimates})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: combine({}), "strata is empty"),
        (lambda: estimate_strata({"a": (Sums(1, 1, 1), Sums(5, 1, 1))}, mean), "a, control: users"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
