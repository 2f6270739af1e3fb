"""The simulation of experiments: its effects, and a short run of it."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from flagstaff.experiments.statistics.effects import (
    Conversions,
    Effect,
    PairSums,
    difference,
    lift,
    mean,
    proportion,
    ratio,
)
from flagstaff.experiments.statistics.sequential import Plan, always_valid, lower_bound
from tools.simulation.experiment_units import ArmSums, Kind, Scenario, draw, effects_of, looks_of
from tools.simulation.experiments import (
    NEVER,
    Ends,
    broken_bounds,
    figures_of,
    report,
    run_chunk,
    simulate,
)

SMALL = Scenario("small", "conversion", 3, units=1_200, every=40, planned=800)
KINDS: list[Kind] = ["conversion", "lift", "revenue", "ratio", "grow"]


def effect_by_the_package(
    kind: Kind, arms: tuple[ArmSums, ArmSums], run: int, look: int
) -> Effect | None:
    """The effect at a look, by the functions of the package."""
    estimates = []
    for arm in arms:
        units, y, *others = (float(sums[run, : look + 1].sum()) for sums in arm)
        sums = PairSums(int(units), y, *others)
        if kind == "ratio":
            estimates.append(ratio(sums))
        elif kind == "revenue":
            estimates.append(mean(sums.of_y))
        else:
            estimates.append(proportion(Conversions(sums.units, int(sums.y))))
    control, treatment = estimates
    return (lift if kind == "lift" else difference)(control, treatment)


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_effects_are_those_of_the_package(kind: Kind) -> None:
    scenario = replace(SMALL, kind=kind, units=7_200, every=240, base=0.3, effect=0.2)
    arms = draw(np.random.default_rng(1), scenario, 3)
    looks = effects_of(kind, *arms)
    spoken = 0
    for run, look in np.ndindex(looks.value.shape):
        expected = effect_by_the_package(kind, arms, run, look)
        assert bool(looks.is_enough[run, look]) == (expected is not None and expected.is_enough)
        if expected is not None and expected.is_enough:
            spoken += 1
            assert looks.value[run, look] == pytest.approx(expected.value, rel=1e-9, abs=1e-12)
            error = float(looks.standard_error[run, look])
            assert error == pytest.approx(expected.standard_error, rel=1e-9)
    assert spoken > 5


def test_simulated_ends_are_those_of_the_package() -> None:
    scenario = replace(SMALL, runs=40, base=0.3, effect=0.4)
    ends = run_chunk(scenario, 0, 40)
    seed = [zlib.crc32(scenario.name.encode()), 0]
    arms = draw(np.random.default_rng(seed), scenario, 40)
    looks, plan = looks_of(scenario), Plan(scenario.planned)
    for run in range(40):
        by_rule: dict[str, list[int]] = {"always_valid": [], "lower_bound": []}
        for look, units in enumerate(looks):
            effect = effect_by_the_package("conversion", arms, run, look)
            assert effect is not None
            if always_valid(effect, plan).p_value <= 0.05:
                by_rule["always_valid"].append(int(units))
            if lower_bound(effect, plan) > 0:
                by_rule["lower_bound"].append(int(units))
        assert ends.always_valid[run] == next(iter(by_rule["always_valid"]), NEVER)
        assert ends.lower_bound[run] == next(iter(by_rule["lower_bound"]), NEVER)
    assert np.count_nonzero(ends.always_valid) > 10


# `make sim` runs all scenarios; here are fewer, with a look after every 25 units.
def test_always_valid_results_are_seldom_false_and_naive_ones_often() -> None:
    none = Scenario("20 looks", "conversion", 1_500, units=4_000, every=200, planned=4_000)
    chosen = [none, replace(none, name="often", every=25, runs=400)]
    chosen += [replace(chosen[1], name=kind, kind=kind, runs=200) for kind in KINDS[1:]]
    ends_of = simulate(chosen).values()
    figures = {
        scenario.name: figures_of(scenario, ends)
        for scenario, ends in zip(chosen, ends_of, strict=True)
    }
    assert broken_bounds(figures, most_false=0.08) == []
    assert figures["often"].spoke["naive"] > 0.2
    assert "20 looks" in report(figures)


def test_broken_bounds_are_named() -> None:
    false = replace(SMALL, name="20 looks", runs=100, planned_effect=0.2, one_look=800)
    slow = replace(SMALL, name="slow", effect=0.2, planned_effect=0.2, units=4_000, one_look=800)
    ends = [np.array([NEVER] * 80 + [800] * 20)] * 7
    figures = {scenario.name: figures_of(scenario, Ends(*ends)) for scenario in (false, slow)}
    problems = broken_bounds(figures)
    assert problems[0] == "20 looks: always_valid spoke in 20.00%, allowed 5%"
    assert problems[3:5] == [
        "20 looks: stop_of_five spoke in 20.00%, allowed 1%",
        "20 looks: 20.0% excluded the planned effect",
    ]
    assert problems[-4:] == [
        "slow: mean length 4.20, allowed 1.2",
        "slow: 20.0% found until the planned size, expected 80%",
        "slow: 20.00% excluded the planned effect",
        "20 looks: the naive test spoke in 20.0%, expected 24.8%",
    ]


def test_few_runs_break_no_bound_by_chance() -> None:
    few = replace(SMALL, name="few", runs=10)
    ends = [np.array([NEVER] * 9 + [800])] * 7
    assert broken_bounds({"few": figures_of(few, Ends(*ends))}) == []
