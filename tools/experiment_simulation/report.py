"""The figures of the simulated experiments, the bounds that they must keep, and both as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tools.experiment_simulation.runs import NEVER, Ends
from tools.experiment_simulation.units import Scenario
from tools.simulation.sampling import share_bound

__all__ = ["Figures", "all_figures", "as_json", "broken_bounds", "figures_of", "report"]

_MOST_FALSE = 0.05
# Of lifts only the first one has a bound: they are skewed, and guardrails use differences.
_RULES = ("always_valid", "lower_bound", "upper_bound", "naive")
# The naive test has 24.8 % (Armitage, McPherson and Rowe 1969): is the simulation itself right?
_NAIVE_AT_20_LOOKS = (0.22, 0.28)
_LONGEST_MEAN, _LATE, _LEAST_ENDED = 1.2, 1.8, 0.8


@dataclass(frozen=True)
class Figures:
    """How one scenario went. Lengths are in planned sizes."""

    runs: int
    looks: int
    #: Whether there is an effect, and whether it is the planned one.
    has_effect: bool
    is_planned: bool
    #: The rules whose false results have a bound.
    bounded: tuple[str, ...]
    #: The share of runs with a result, by rule.
    spoke: dict[str, float]
    #: Its upper 99 % bound.
    bound: dict[str, float]
    #: The mean until the always-valid result or the last look, and quantiles.
    mean_length: float
    median_length: float
    ended_by_planned: float
    ended_late: float


def figures_of(scenario: Scenario, ends: Ends) -> Figures:
    """Returns the figures of a scenario."""
    spoke = {rule: int(np.count_nonzero(found != NEVER)) for rule, found in ends._asdict().items()}
    runs = len(ends.always_valid)
    last = scenario.units // scenario.every * scenario.every
    lengths = np.where(ends.always_valid == NEVER, last, ends.always_valid) / scenario.planned
    has_ended = ends.always_valid != NEVER
    return Figures(
        runs=runs,
        looks=scenario.units // scenario.every,
        has_effect=scenario.effect != 0,
        is_planned=scenario.is_as_planned,
        bounded=_RULES[:1] if scenario.kind == "lift" else _RULES[:3],
        spoke={rule: number / runs for rule, number in spoke.items()},
        bound={rule: share_bound(number, runs) for rule, number in spoke.items()},
        mean_length=float(lengths.mean()),
        median_length=float(np.median(lengths)),
        ended_by_planned=float(np.mean(has_ended & (lengths <= 1))),
        ended_late=float(np.mean(has_ended & (lengths <= _LATE))),
    )


def broken_bounds(found: Mapping[str, Figures], most_false: float = _MOST_FALSE) -> list[str]:
    """Returns what is wrong with the figures."""
    problems = []
    for name, figures in found.items():
        if not figures.has_effect:
            problems += [
                f"{name}: {rule} spoke in {figures.spoke[rule]:.2%}, bound "
                f"{figures.bound[rule]:.2%}, allowed {most_false:.0%}"
                for rule in figures.bounded
                if figures.bound[rule] > most_false
            ]
        if figures.is_planned:
            problems += _broken_lengths(name, figures)
    if "20 looks" in found:
        low, high = _NAIVE_AT_20_LOOKS
        naive = found["20 looks"].spoke["naive"]
        if not low <= naive <= high:
            problems.append(f"20 looks: the naive test spoke in {naive:.1%}, expected 24.8%")
    return problems


def _broken_lengths(name: str, figures: Figures) -> list[str]:
    problems = []
    if figures.mean_length > _LONGEST_MEAN:
        problems.append(f"{name}: mean length {figures.mean_length:.2f}, allowed {_LONGEST_MEAN}")
    if figures.ended_late < _LEAST_ENDED:
        problems.append(
            f"{name}: {figures.ended_late:.1%} ended by {_LATE}, required {_LEAST_ENDED:.0%}"
        )
    return problems


def report(found: Mapping[str, Figures]) -> str:
    """Returns the tables."""
    heads = "".join(f"{rule.replace('_', ' '):>14}{'bound':>8}" for rule in _RULES)
    lines = ["no effect: false results", f"  {'':<34}{'runs':>7}{'looks':>7}{heads}"]
    lines += [
        f"  {name:<34}{one.runs:>7,}{one.looks:>7,}"
        + "".join(f"{one.spoke[rule]:>14.2%}{one.bound[rule]:>8.2%}" for rule in _RULES)
        for name, one in found.items()
        if not one.has_effect
    ]
    heads = f"{'one look':>10}{'found':>8}{'mean':>7}{'median':>8}{'by 1.0':>8}{'by 1.8':>8}"
    lines += ["", "effect: found, and lengths in planned sizes", f"  {'':<34}{'runs':>7}{heads}"]
    lines += [
        f"  {name:<34}{one.runs:>7,}{one.spoke['planned']:>10.1%}{one.spoke['always_valid']:>8.1%}"
        f"{one.mean_length:>7.2f}{one.median_length:>8.2f}{one.ended_by_planned:>8.1%}"
        f"{one.ended_late:>8.1%}"
        for name, one in found.items()
        if one.has_effect
    ]
    return "\n".join(lines)


def as_json(found: Mapping[str, Figures]) -> dict[str, object]:
    """Returns the figures as a dict for JSON."""
    return {name: asdict(figures) for name, figures in found.items()}


def all_figures(scenarios: Sequence[Scenario], ends: Mapping[str, Ends]) -> dict[str, Figures]:
    """Returns the figures by name of the scenario."""
    return {one.name: figures_of(one, ends[one.name]) for one in scenarios}
