"""Experiments in `make sim`: the first look at which each rule speaks, and the bounds of that.

Without an effect: the share of experiments in which a rule ever speaks, with its upper 99 % bound.
With one: the power of one look, the share that always-valid results find until the planned size,
how long that takes, in units of one look, and how often the planned effect is excluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.experiments.statistics.sequential import (
    ALPHA,
    EXCLUDED,
    Plan,
    critical_value,
    lower_critical_value,
    size_for_proportions,
)
from tools.simulation.experiment_units import Effects, Floats, Scenario, draw, effects_of, looks_of
from tools.simulation.sampling import generator, is_above, is_below, run_all, share_bound

#: The end of a run in which a rule never speaks.
NEVER = 0
# Two-sided, 5 %.
_NAIVE = 1.959963984540054
# So many units are in memory at a time, or so many looks.
_CHUNK = 1_000_000

_Ends = npt.NDArray[np.int64]


class Ends(NamedTuple):
    """For each run the units of both arms at the first look with a result, or NEVER."""

    always_valid: _Ends
    #: The one-sided bound of a guardrail is above 0.
    lower_bound: _Ends
    #: The one-sided bound of the negated effect is above 0.
    upper_bound: _Ends
    #: The same at a fifth of 5 %, with enough for a stop.
    stop_of_five: _Ends
    #: The interval is within the planned effect.
    excluded: _Ends
    #: A z test at 5 % at each look.
    naive: _Ends
    #: A z test at 5 % at the size of one look only.
    one_look: _Ends


def simulate(scenarios: Sequence[Scenario]) -> dict[str, Ends]:
    """Returns the ends by name of the scenario."""
    ends = {}
    for scenario in scenarios:
        of_units = scenario.kind in {"revenue", "ratio"}
        rows = scenario.units if of_units else len(looks_of(scenario))
        size = max(_CHUNK // rows, 1)
        starts = range(0, scenario.runs, size)
        parts = run_all(
            run_chunk, [(scenario, start, min(size, scenario.runs - start)) for start in starts]
        )
        ends[scenario.name] = Ends(*map(np.concatenate, zip(*parts, strict=True)))
    return ends


def run_chunk(scenario: Scenario, start: int, runs: int) -> Ends:
    """Returns the ends of so many runs. The seed is the name of the scenario and the start."""
    source = generator(scenario.name, start)
    arms = draw(source, scenario, runs)
    effects = effects_of(scenario.kind, *arms)
    looks, plan = looks_of(scenario), Plan(scenario.planned)
    two_sided = np.array([critical_value(int(units), plan) for units in looks])
    one_sided = np.array([lower_critical_value(int(units), plan) for units in looks])
    of_five = np.array([lower_critical_value(int(units), plan, ALPHA / 5) for units in looks])
    at = np.searchsorted(looks, scenario.one_look or scenario.planned)
    end = looks[min(int(at), len(looks) - 1)]
    z = _z(effects)
    largest = np.abs(effects.value) + two_sided * effects.standard_error
    is_excluded = effects.is_enough & (largest < scenario.base * scenario.planned_effect)
    return Ends(
        _first(looks, np.abs(z) >= two_sided),
        _first(looks, z > one_sided),
        _first(looks, -z > one_sided),
        _first(looks, (-z > of_five) & effects.can_stop),
        _first(looks, is_excluded),
        _first(looks, np.abs(z) >= _NAIVE),
        _first(looks, (np.abs(z) >= _NAIVE) & (looks == end)),
    )


def _z(effects: Effects) -> Floats:
    enough = effects.is_enough
    return np.divide(
        effects.value, effects.standard_error, out=np.zeros_like(effects.value), where=enough
    )


def _first(looks: _Ends, has_spoken: npt.NDArray[np.bool_]) -> _Ends:
    units = looks[has_spoken.argmax(axis=1)]
    return np.where(has_spoken.any(axis=1), units, NEVER)


# The planned effect: a fifth more than the control converts in the treatment.
_BASES, _EFFECT = (0.1, 0.01, 0.5), 0.2
# Longer experiments are stopped at so many times the planned size.
_LONGEST = 4
_LOOKS = 100


def _scenarios(runs: int) -> list[Scenario]:
    """Returns the scenarios. `runs` are those of most of them."""
    often = Scenario("", "conversion", runs, units=10_000, every=5, planned=10_000)
    rare = replace(often, kind="lift", units=40_000, every=20, planned=40_000, base=0.01)
    none = [
        replace(often, name="20 looks", runs=4 * runs, every=500),
        replace(often, name="every 5 units"),
        replace(often, name="every 5 units, 1 %", base=0.01),
        replace(often, name="every 5 units, 95 %", base=0.95),
        replace(often, name="every 5 units, 90/10", treated=0.1),
        replace(often, name="every 5 units, plan 1,000", planned=1_000),
        replace(often, name="every 5 units, plan 100,000", planned=100_000),
        replace(often, name="every 5 units, grow", kind="grow"),
        replace(often, name="every 5 units, lift", kind="lift"),
        replace(often, name="every 5 units, lift 90/10", kind="lift", treated=0.1),
        replace(often, name="every 5 units, lift 10/90", kind="lift", treated=0.9),
        replace(rare, name="every 20 units, lift 1 %"),
        replace(rare, name="every 20 units, lift, plan 4,000", planned=4_000),
        replace(often, name="every 5 units, revenue", kind="revenue"),
        replace(rare, name="every 20 units, revenue 90/10", kind="revenue", base=0.1, treated=0.1),
        replace(often, name="every 5 units, ratio", kind="ratio"),
    ]
    planned = [_planned(runs, base, effect) for base in _BASES for effect in (0, _EFFECT)]
    return none + planned + [_planned(runs, _BASES[0], effect) for effect in (0.15, 0.3)]


def _planned(runs: int, base: float, effect: float) -> Scenario:
    """Returns experiments that are planned for the effect _EFFECT."""
    size = size_for_proportions(base, base * (1 + _EFFECT))
    every = -(-size.planned // _LOOKS)
    return Scenario(
        f"{base:.0%} convert, effect {effect:.0%}",
        "conversion",
        runs,
        units=size.planned * _LONGEST,
        every=every,
        planned=size.planned,
        base=base,
        effect=effect,
        planned_effect=_EFFECT,
        one_look=size.one_look,
    )


_MOST_FALSE = 0.05
# Of lifts only the first one has a bound: they are skewed, and guardrails use differences.
_RULES = ("always_valid", "lower_bound", "upper_bound", "stop_of_five", "naive")
# The naive test has 24.8 % (Armitage, McPherson and Rowe 1969): is the simulation itself right?
_NAIVE_AT_20_LOOKS = (0.22, 0.28)
_LONGEST_MEAN, _LEAST_FOUND, _MOST_FOUND, _LEAST_EXCLUDED = 1.2, 0.78, 0.84, 0.78
# A standard normal variable is above with a probability of 1 %.
_CERTAIN = 2.326


@dataclass(frozen=True)
class Figures:
    """How one scenario went. Lengths are in units of one look."""

    runs: int
    looks: int
    #: Whether there is an effect, and whether it is the planned one.
    has_effect: bool
    is_planned: bool
    #: Whether the size is that for an effect.
    is_for_an_effect: bool
    #: The rules whose false results have a bound.
    bounded: tuple[str, ...]
    #: The share of runs with a result, by rule.
    spoke: dict[str, float]
    #: Its upper 99 % bound.
    bound: dict[str, float]
    #: The mean until the always-valid result or the last look, its standard error, the median.
    mean_length: float
    mean_error: float
    median_length: float
    #: The share with a result until the planned size.
    with_result: float
    #: The share whose interval was within the planned effect until the size for that.
    excluded: float

    def is_above(self, observed: float, share: float) -> bool:
        """Returns whether a share of the runs is certainly larger."""
        return is_above(round(observed * self.runs), self.runs, share)

    def is_below(self, observed: float, share: float) -> bool:
        """Returns whether a share of the runs is certainly smaller."""
        return is_below(round(observed * self.runs), self.runs, share)


def figures_of(scenario: Scenario, ends: Ends) -> Figures:
    """Returns the figures of a scenario."""
    spoke = {rule: int(np.count_nonzero(looks != NEVER)) for rule, looks in ends._asdict().items()}
    runs = len(ends.always_valid)
    last = scenario.units // scenario.every * scenario.every
    lengths = np.where(ends.always_valid == NEVER, last, ends.always_valid)
    lengths = lengths / (scenario.one_look or scenario.planned)
    is_found, excluded = (
        (end != NEVER) & (end <= most)
        for end, most in (
            (ends.always_valid, scenario.planned + scenario.every - 1),
            (ends.excluded, EXCLUDED * scenario.one_look),
        )
    )
    return Figures(
        runs=runs,
        looks=scenario.units // scenario.every,
        has_effect=scenario.effect != 0,
        is_planned=scenario.is_as_planned,
        is_for_an_effect=scenario.planned_effect != 0,
        bounded=_RULES[:1] if scenario.kind == "lift" else _RULES[:4],
        spoke={rule: number / runs for rule, number in spoke.items()},
        bound={rule: share_bound(number, runs) for rule, number in spoke.items()},
        mean_length=float(lengths.mean()),
        mean_error=float(lengths.std() / math.sqrt(runs)),
        median_length=float(np.median(lengths)),
        with_result=float(np.mean(is_found)),
        excluded=float(np.mean(excluded)),
    )


def broken_bounds(results: Mapping[str, Figures], most_false: float = _MOST_FALSE) -> list[str]:
    """Returns what is wrong with the figures by more than chance."""
    problems = []
    for name, figures in results.items():
        if not figures.has_effect:
            # One of five guardrails without harm stops in as many, at most.
            allowed = {**dict.fromkeys(_RULES, most_false), "stop_of_five": most_false / 5}
            problems += [
                f"{name}: {rule} spoke in {figures.spoke[rule]:.2%}, allowed {allowed[rule]:.0%}"
                for rule in figures.bounded
                if figures.is_above(figures.spoke[rule], allowed[rule])
            ]
            if figures.is_for_an_effect and figures.is_below(figures.excluded, _LEAST_EXCLUDED):
                problems.append(f"{name}: {figures.excluded:.1%} excluded the planned effect")
        if figures.is_planned:
            problems += _broken_plan(name, figures, most_false)
    if "20 looks" in results:
        low, high = _NAIVE_AT_20_LOOKS
        naive = results["20 looks"].spoke["naive"]
        if not low <= naive <= high:
            problems.append(f"20 looks: the naive test spoke in {naive:.1%}, expected 24.8%")
    return problems


def _broken_plan(name: str, figures: Figures, most_false: float) -> list[str]:
    problems = []
    if figures.mean_length - _CERTAIN * figures.mean_error > _LONGEST_MEAN:
        problems.append(f"{name}: mean length {figures.mean_length:.2f}, allowed {_LONGEST_MEAN}")
    if figures.is_below(figures.with_result, _LEAST_FOUND) or figures.is_above(
        figures.with_result, _MOST_FOUND
    ):
        problems.append(
            f"{name}: {figures.with_result:.1%} found until the planned size, expected 80%"
        )
    if figures.is_above(figures.spoke["excluded"], most_false):
        problems.append(f"{name}: {figures.spoke['excluded']:.2%} excluded the planned effect")
    return problems


def report(results: Mapping[str, Figures]) -> str:
    """Returns the tables."""
    heads = "".join(f"{rule.replace('_', ' '):>14}{'bound':>8}" for rule in _RULES)
    lines = ["no effect: false results", f"  {'':<34}{'runs':>7}{'looks':>7}{heads}"]
    lines += [
        f"  {name:<34}{figures.runs:>7,}{figures.looks:>7,}"
        + "".join(f"{figures.spoke[rule]:>14.2%}{figures.bound[rule]:>8.2%}" for rule in _RULES)
        for name, figures in results.items()
        if not figures.has_effect
    ]
    heads = f"{'one look':>10}{'found':>8}{'mean':>7}{'median':>8}{'excluded':>10}{'ever':>8}"
    lines += ["", "plans for 20 %: lengths in units of one look", f"  {'':<34}{'runs':>7}{heads}"]
    lines += [
        f"  {name:<34}{figures.runs:>7,}{figures.spoke['one_look']:>10.1%}"
        f"{figures.with_result:>8.1%}"
        f"{figures.mean_length:>7.2f}{figures.median_length:>8.2f}{figures.excluded:>10.1%}"
        f"{figures.spoke['excluded']:>8.1%}"
        for name, figures in results.items()
        if figures.is_for_an_effect
    ]
    return "\n".join(lines)


# Experiments of most scenarios.
_EXPERIMENTS = 4000


def run(scale: float) -> tuple[str, list[str]]:
    """Runs all scenarios. Returns their figures as text, and what is wrong with them."""
    chosen = _scenarios(round(_EXPERIMENTS * scale))
    ends = simulate(chosen)
    results = {scenario.name: figures_of(scenario, ends[scenario.name]) for scenario in chosen}
    return report(results), broken_bounds(results)
