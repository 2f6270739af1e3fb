"""The figures of a simulation, the bounds that they must keep, and both as text."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tools.simulation.plan import PERCENTS, RULES, Result
from tools.simulation.sampling import share_bound
from tools.simulation.scenarios import LOST, NO_HARM, RESUMED, RESUMED_HARM, RESUMED_OFTEN

__all__ = ["Figures", "as_json", "broken_bounds", "figures_of", "report"]

_MOST_FALSE_TRIPS = 0.05
_LEAST_FOUND = {"5 times": 0.95, RESUMED_HARM: 0.95}


@dataclass(frozen=True)
class RuleFigures:
    """How one rule did."""

    tripped: float
    #: Upper 99 % bound of the share.
    tripped_bound: float
    #: Shares of all plans, by percentage of the step.
    tripped_at: dict[int, float]
    #: Users who had failed inside at the trip: medians, by step and of all that tripped.
    failed_at: dict[int, float]
    failed: float | None
    #: Users who failed inside until the trip or the end: mean of all plans.
    failed_mean: float


@dataclass(frozen=True)
class Figures:
    """How one scenario went."""

    plans: int
    looks: int
    rules: dict[str, RuleFigures]
    #: Trips of the verdict, by name of the guard.
    guards: dict[str, int]
    passes: int
    blind_passes: int
    forced: int
    #: Plans by percentage at the end.
    ended_at: dict[int, int]


def figures_of(results: Sequence[Result]) -> Figures:
    """Returns the figures of a scenario."""
    guards = Counter(result.guard for result in results if result.guard)
    return Figures(
        plans=len(results),
        looks=sum(result.looks for result in results),
        rules={rule: _rule_figures(results, rule) for rule in RULES},
        guards=dict(guards.most_common()),
        passes=sum(result.passes for result in results),
        blind_passes=sum(result.blind_passes for result in results),
        forced=sum(result.forced for result in results),
        ended_at=dict(sorted(Counter(result.percent for result in results).items())),
    )


def broken_bounds(found: Mapping[str, Figures], most_false: float = _MOST_FALSE_TRIPS) -> list[str]:
    """Returns what is wrong with the figures."""
    problems = []
    for name in (NO_HARM, RESUMED, RESUMED_OFTEN):
        if name not in found:
            continue
        verdict = found[name].rules["verdict"]
        if verdict.tripped_bound > most_false:
            problems.append(
                f"{name}: {verdict.tripped:.2%} tripped, bound {verdict.tripped_bound:.2%}, "
                f"allowed {most_false:.0%}"
            )
    problems += [
        f"{name}: {found[name].rules['verdict'].tripped:.1%} tripped, required {least:.0%}"
        for name, least in _LEAST_FOUND.items()
        if name in found and found[name].rules["verdict"].tripped < least
    ]
    problems += [
        f"{name}: {figures.blind_passes} steps passed without data"
        for name, figures in found.items()
        if figures.blind_passes
    ]
    if LOST in found and found[LOST].passes:
        problems.append(f"{LOST}: {found[LOST].passes} steps passed")
    return problems


def report(found: Mapping[str, Figures]) -> str:
    """Returns the tables."""
    lines = []
    for name, figures in found.items():
        lines += [f"{name}: {figures.plans:,} plans, {figures.looks:,} looks", *_table(figures)]
        lines += [f"  trips by guard: {_pairs(figures.guards)}"] if figures.guards else []
        lines += [
            f"  steps passed {figures.passes:,}, without data {figures.blind_passes:,}",
            f"  steps that a person left {figures.forced:,}",
            f"  plans by last step: {_pairs(figures.ended_at)}",
            "",
        ]
    return "\n".join(lines)


def as_json(found: Mapping[str, Figures]) -> dict[str, object]:
    """Returns the figures as a dict for JSON."""
    return {name: asdict(figures) for name, figures in found.items()}


def _rule_figures(results: Sequence[Result], rule: str) -> RuleFigures:
    trips = [result.trips[rule] for result in results if rule in result.trips]
    number = len(results)
    steps = {step: [failed for at, failed in trips if at == step] for step in PERCENTS}
    spent = [result.trips.get(rule, (0, result.failed_inside))[1] for result in results]
    return RuleFigures(
        tripped=len(trips) / number,
        tripped_bound=share_bound(len(trips), number),
        tripped_at={step: len(failed) / number for step, failed in steps.items()},
        failed_at={step: statistics.median(failed) for step, failed in steps.items() if failed},
        failed=statistics.median([failed for _, failed in trips]) if trips else None,
        failed_mean=statistics.fmean(spent),
    )


def _table(figures: Figures) -> list[str]:
    steps = "".join(f"{f'at {step} %':>16}" for step in PERCENTS)
    lines = [f"  {'':<22}{'tripped':>9}{'bound':>8}{steps}{'users failed':>14}{'mean':>9}"]
    for rule, one in figures.rules.items():
        cells = "".join(f"{_cell(one, step):>16}" for step in PERCENTS)
        failed = "-" if one.failed is None else f"{one.failed:,.0f}"
        lines.append(
            f"  {rule:<22}{one.tripped:>9.2%}{one.tripped_bound:>8.2%}{cells}"
            f"{failed:>14}{one.failed_mean:>9,.0f}"
        )
    return lines


def _cell(one: RuleFigures, step: int) -> str:
    if step not in one.failed_at:
        return "-"
    return f"{one.tripped_at[step]:.1%} ({one.failed_at[step]:,.0f})"


def _pairs(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
