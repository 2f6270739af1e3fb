"""What the metrics of an experiment have shown, hour by hour: the figures of a report.

Looks are full hours, so a report shows the same from any page or command, and a p value that was
shown never goes up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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

__all__ = ["ALPHA", "Analysis", "Look", "Result", "results_of", "users_of"]

ALPHA = 0.05

#: An earlier phase with too few users for an interval, and fewer than this part of all users, is
#: left out. Otherwise an experiment that changed its weights in the first hour had never a result.
_SMALL_PHASE = 0.1

#: By phase and variant.
_Cells = dict[tuple[int, str], PairSums]


@dataclass(frozen=True)
class Analysis:
    """How results are computed."""

    #: The control first.
    variants: Sequence[str]
    #: The users of all variants together for which results are planned.
    planned_users: int
    #: Valid at every look. False: one look, at the first full hour with the planned users.
    is_sequential: bool = True

    @property
    def plan(self) -> Plan:
        """The plan for two of the variants."""
        return Plan(max(2 * self.planned_users // len(self.variants), 1))

    def compare(self, effect: Effect, alpha: float = ALPHA) -> Comparison:
        """Returns an effect with its interval and p value."""
        if self.is_sequential:
            return always_valid(effect, self.plan, alpha)
        return fixed_horizon(effect, alpha)

    def lower_bound(self, effect: Effect) -> float:
        """Returns the one-sided lower bound of an effect."""
        if self.is_sequential:
            return lower_bound(effect, self.plan)
        return fixed_lower_bound(effect)


@dataclass(frozen=True)
class Look:
    """A treatment against the control at the end of an hour."""

    at: datetime
    control: Estimate
    treatment: Estimate
    difference: Effect
    #: None where a ratio to the control has no meaning.
    lift: Effect | None
    p_value: float
    #: The one-sided lower bound of how much worse the treatment is.
    harm_bound: float

    @property
    def users(self) -> int:
        """The users of both arms."""
        return self.difference.users


@dataclass(frozen=True)
class Result:
    """All looks at a metric for one treatment, the newest one last."""

    treatment: str
    looks: Sequence[Look] = ()

    @property
    def newest(self) -> Look | None:
        """None without a unit whose window is over, and before the one look of a fixed horizon."""
        return self.looks[-1] if self.looks else None

    @property
    def decisive(self) -> Look | None:
        """The look with the smallest p value, whose sign decides."""
        return min(self.looks, key=attrgetter("p_value"), default=None)

    @property
    def p_value(self) -> float:
        """The smallest p value of all looks, so that one that was reported never goes up."""
        return self.decisive.p_value if self.decisive else 1.0

    @property
    def harm_bound(self) -> float:
        """The largest bound of all looks: a harm that was certain once remains so."""
        return max((look.harm_bound for look in self.looks), default=-math.inf)


def results_of(metric: Metric, hours: Iterable[HourSums], analysis: Analysis) -> list[Result]:
    """Returns the results of a metric for each treatment."""
    control, *treatments = analysis.variants
    found: dict[str, list[Look]] = {treatment: [] for treatment in treatments}
    for hour, cells in _looks(hours, analysis):
        for treatment in treatments:
            look = _look(hour, metric, cells, (control, treatment), analysis)
            if look is not None:
                found[treatment].append(look)
    return [Result(treatment, looks) for treatment, looks in found.items()]


def users_of(hours: Iterable[HourSums]) -> int:
    """Returns the number of units whose window is over."""
    return sum(one.sums.users for one in hours)


def _looks(hours: Iterable[HourSums], analysis: Analysis) -> Iterator[tuple[datetime, _Cells]]:
    """Yields the hours at which there is a look, each with the sums until its end."""
    for hour, cells in _cumulated(hours):
        if analysis.is_sequential:
            yield hour, cells
        elif sum(one.users for one in cells.values()) >= analysis.planned_users:
            yield hour, cells
            return


def _cumulated(hours: Iterable[HourSums]) -> Iterator[tuple[datetime, _Cells]]:
    """Yields each hour with the sums until its end."""
    cells: _Cells = {}
    by_hour = groupby(sorted(hours, key=attrgetter("hour")), key=attrgetter("hour"))
    for hour, group in by_hour:
        for one in group:
            cell = (one.phase, one.variant)
            cells[cell] = cells[cell] + one.sums if cell in cells else one.sums
        yield hour, cells


def _look(
    at: datetime, metric: Metric, cells: _Cells, arms: tuple[str, str], analysis: Analysis
) -> Look | None:
    strata = _strata(metric, cells, arms)
    if not strata:
        return None
    control, treatment = combine(strata)
    effect = difference(control, treatment)
    return Look(
        at=at,
        control=control,
        treatment=treatment,
        difference=effect,
        lift=lift(control, treatment),
        p_value=analysis.compare(effect).p_value,
        harm_bound=analysis.lower_bound(-effect if metric.higher_is_better else effect),
    )


def _strata(
    metric: Metric, cells: _Cells, arms: tuple[str, str]
) -> dict[str, tuple[Estimate, Estimate]]:
    """Returns the estimates of both arms by phase, without phases that are too small for one."""
    found = {}
    for phase in sorted({phase for phase, _ in cells}):
        sums = [cells.get((phase, arm)) for arm in arms]
        pair = [one for one in sums if one is not None]
        if len(pair) == len(arms) and all(one.users > 1 for one in pair):
            estimated = _estimates(metric, pair)
            if estimated is not None:
                found[f"phase {phase}"] = estimated
    return _without_small(found)


def _without_small(
    strata: dict[str, tuple[Estimate, Estimate]],
) -> dict[str, tuple[Estimate, Estimate]]:
    """Returns the newest phase and earlier ones, without those that have too few users for ever."""
    users = {name: sum(arm.users for arm in arms) for name, arms in strata.items()}
    least = _SMALL_PHASE * sum(users.values())
    newest = next(reversed(strata), "")
    return {
        name: arms
        for name, arms in strata.items()
        if name == newest or users[name] >= least or all(arm.is_enough for arm in arms)
    }


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
