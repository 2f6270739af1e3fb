"""What the metrics of an experiment have shown, hour by hour: the figures of a report.

Looks are full hours, so a report shows the same from any page or command, and a p value that was
shown never goes up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from flagstaff.experiments.measuring import HourSums
from flagstaff.experiments.metrics import Mean, Metric, Ratio
from flagstaff.experiments.statistics import (
    Comparison,
    Conversions,
    Effect,
    Estimate,
    PairSums,
    Plan,
    adjust,
    always_valid,
    combine,
    difference,
    fixed_horizon,
    fixed_lower_bound,
    lift,
    lower_bound,
    mean,
    proportion,
    ratio,
)

__all__ = ["Analysis", "Look", "Result", "results_of"]

#: By phase and variant.
_Cells = dict[tuple[int, str], PairSums]


@dataclass(frozen=True)
class Analysis:
    """How results are computed."""

    #: The control first.
    variants: Sequence[str]
    #: None for one look at the planned size.
    plan: Plan | None
    alpha: float = 0.05

    def compare(self, effect: Effect) -> Comparison:
        """Returns an effect with its interval and p value."""
        if self.plan is None:
            return fixed_horizon(effect, self.alpha)
        return always_valid(effect, self.plan, self.alpha)

    def lower_bound(self, effect: Effect) -> float:
        """Returns the one-sided lower bound of an effect."""
        if self.plan is None:
            return fixed_lower_bound(effect, self.alpha)
        return lower_bound(effect, self.plan, self.alpha)


@dataclass(frozen=True)
class Look:
    """A treatment against the control at the end of an hour."""

    at: datetime
    #: The users of both arms.
    users: int
    control: Estimate
    treatment: Estimate
    difference: Comparison
    #: None where a ratio to the control has no meaning.
    lift: Comparison | None
    #: The one-sided lower bound of how much worse the treatment is.
    harm_bound: float


@dataclass(frozen=True)
class Result:
    """The newest look at a metric for one treatment, and all looks before."""

    metric: str
    treatment: str
    looks: Sequence[Look]
    #: The smallest p value of all looks; the newest one with a fixed horizon.
    p_value: float

    @property
    def newest(self) -> Look | None:
        """None without a unit whose window is over."""
        return self.looks[-1] if self.looks else None


def results_of(
    name: str, metric: Metric, hours: Iterable[HourSums], analysis: Analysis
) -> list[Result]:
    """Returns the results of a metric for each treatment."""
    control, *treatments = analysis.variants
    found: dict[str, list[Look]] = {treatment: [] for treatment in treatments}
    for hour, cells in _cumulated(hours):
        for treatment in treatments:
            look = _look(hour, metric, cells, (control, treatment), analysis)
            if look is not None:
                found[treatment].append(look)
    is_sequential = analysis.plan is not None
    return [
        Result(name, treatment, looks, _p_value(looks, is_sequential=is_sequential))
        for treatment, looks in found.items()
    ]


def _cumulated(hours: Iterable[HourSums]) -> Iterator[tuple[datetime, _Cells]]:
    """Yields each hour with the sums until its end."""
    cells: _Cells = {}
    by_hour = groupby(sorted(hours, key=attrgetter("hour")), key=attrgetter("hour"))
    for hour, group in by_hour:
        for one in group:
            cell = (one.phase, one.variant)
            cells[cell] = cells[cell] + one.sums if cell in cells else one.sums
        yield hour, cells


def _p_value(looks: Sequence[Look], *, is_sequential: bool) -> float:
    if not looks:
        return 1.0
    return min(look.difference.p_value for look in looks if is_sequential or look is looks[-1])


def _look(
    at: datetime, metric: Metric, cells: _Cells, arms: tuple[str, str], analysis: Analysis
) -> Look | None:
    strata = _strata(metric, cells, arms)
    if not strata:
        return None
    control, treatment = combine(strata)
    effect = difference(control, treatment)
    relative = lift(control, treatment)
    worse = replace(effect, value=-effect.value) if metric.higher_is_better else effect
    return Look(
        at=at,
        users=effect.users,
        control=control,
        treatment=treatment,
        difference=analysis.compare(effect),
        lift=None if relative is None else analysis.compare(relative),
        harm_bound=analysis.lower_bound(worse),
    )


def _strata(
    metric: Metric, cells: _Cells, arms: tuple[str, str]
) -> dict[str, tuple[Estimate, Estimate]]:
    """Returns the estimates of both arms by phase, without those in which one has too few users."""
    found = {}
    for phase in sorted({phase for phase, _ in cells}):
        sums = [cells.get((phase, arm)) for arm in arms]
        pair = [one for one in sums if one is not None]
        if len(pair) == len(arms) and all(one.users > 1 for one in pair):
            estimated = _estimates(metric, pair)
            if estimated is not None:
                found[f"phase {phase}"] = estimated
    return found


def _estimates(metric: Metric, arms: Sequence[PairSums]) -> tuple[Estimate, Estimate] | None:
    if isinstance(metric, Mean) and metric.covariate:
        control, treatment = adjust(arms).arms
        return control, treatment
    if isinstance(metric, Ratio) and any(arm.of_x.exact_mean <= 0 for arm in arms):
        return None
    estimate = _estimator(metric)
    control, treatment = (estimate(arm) for arm in arms)
    return control, treatment


def _estimator(metric: Metric) -> Callable[[PairSums], Estimate]:
    if metric.is_proportion:
        return lambda arm: proportion(_conversions(arm))
    if isinstance(metric, Ratio):
        return ratio
    return lambda arm: mean(arm.of_y)


def _conversions(arm: PairSums) -> Conversions:
    return Conversions(arm.users, math.floor(arm.of_y.mean * arm.users + 0.5))
