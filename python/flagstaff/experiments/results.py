"""What the metrics of an experiment have shown, hour by hour: the figures of a report.

Looks are full hours, so a report shows the same from any page or command, and a p value that was
shown never goes up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
    compare_proportions,
    difference,
    fixed_horizon,
    fixed_lower_bound,
    has_enough_together,
    lift,
    lower_bound,
    mean,
    proportion,
    ratio,
)

ALPHA = 0.05

#: An earlier phase with too few units for an interval, and fewer than this part of all units, is
#: left out. Otherwise an experiment that changed its weights in the first hour had never a result.
_SMALL_PHASE = 0.1

_HOUR = timedelta(hours=1)

#: By phase and variant.
_Cells = dict[tuple[int, str], PairSums]


@dataclass(frozen=True)
class Analysis:
    """How results are computed."""

    #: The control first.
    variants: Sequence[str]
    #: The units of all variants together for which results are planned.
    planned_units: int
    #: Valid at every look. False: one look, at the first full hour with the planned units.
    is_sequential: bool = True

    @property
    def plan(self) -> Plan:
        """The plan for two of the variants."""
        return Plan(max(2 * self.planned_units // len(self.variants), 1))

    def compare(self, effect: Effect, alpha: float = ALPHA) -> Comparison:
        """Returns an effect with its interval and p value."""
        if self.is_sequential:
            return always_valid(effect, self.plan, alpha)
        return fixed_horizon(effect, alpha)

    def compare_difference(self, look: Look, alpha: float = ALPHA) -> Comparison:
        """Returns the difference of a look with its interval and p value.

        At a fixed horizon, the shares of one phase are compared by the pooled z test and Newcombe's
        interval, if there are enough conversions. The unpooled error is too small where a small arm
        has few of them.
        """
        pooled = None if self.is_sequential else _conversions_to_pool(look)
        if pooled is not None:
            return compare_proportions(*pooled, alpha)
        return self.compare(look.difference, alpha)

    def harm_bound(self, look: Look, *, higher_is_better: bool) -> float:
        """Returns the one-sided lower bound of how much worse the treatment is."""
        pooled = None if self.is_sequential else _conversions_to_pool(look)
        if pooled is not None:
            # Both bounds of this interval are one-sided bounds of ALPHA.
            found = compare_proportions(*pooled, 2 * ALPHA)
            return -found.high if higher_is_better else found.low
        worse = -look.difference if higher_is_better else look.difference
        return lower_bound(worse, self.plan) if self.is_sequential else fixed_lower_bound(worse)


@dataclass(frozen=True)
class Stratum:
    """The part of a look that one phase gives."""

    phase: int
    #: Of control and treatment.
    sums: tuple[PairSums, PairSums]
    estimates: tuple[Estimate, Estimate]
    #: With a covariate: so much of x is subtracted, and the share of the variance that is gone.
    theta: float | None = None
    variance_reduction: float | None = None


@dataclass(frozen=True)
class Look:
    """A treatment against the control at the end of an hour."""

    #: The end of the hour.
    at: datetime
    #: In the order of the phases, the newest one last.
    strata: Sequence[Stratum]
    is_proportion: bool
    control: Estimate
    treatment: Estimate
    difference: Effect
    #: None where a ratio to the control has no meaning.
    lift: Effect | None
    p_value: float
    #: The one-sided lower bound of how much worse the treatment is.
    harm_bound: float

    @property
    def units(self) -> int:
        """The units of both arms."""
        return self.difference.units


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
            look = _look(hour + _HOUR, metric, cells, (control, treatment), analysis)
            if look is not None:
                found[treatment].append(look)
    return [Result(treatment, looks) for treatment, looks in found.items()]


def units_of(hours: Iterable[HourSums]) -> int:
    """Returns the number of units whose window is over."""
    return sum(hour.sums.units for hour in hours)


def _looks(hours: Iterable[HourSums], analysis: Analysis) -> Iterator[tuple[datetime, _Cells]]:
    """Yields the hours at which there is a look, each with the sums until its end."""
    for hour, cells in _cumulated(hours):
        if analysis.is_sequential:
            yield hour, cells
        elif sum(cell.units for cell in cells.values()) >= analysis.planned_units:
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
    control, treatment = combine({f"phase {one.phase}": one.estimates for one in strata})
    # A share has its own rule, and sequential results need none: `has_enough_together` says why.
    is_skewed = not (analysis.is_sequential or metric.is_proportion) and not all(
        has_enough_together([arm.of_y for arm in one.sums]) for one in strata
    )
    if is_skewed:
        control = replace(control, is_enough=False)
    look = Look(
        at=at,
        strata=strata,
        is_proportion=metric.is_proportion,
        control=control,
        treatment=treatment,
        difference=difference(control, treatment),
        lift=lift(control, treatment),
        p_value=1.0,
        harm_bound=-math.inf,
    )
    return replace(
        look,
        p_value=analysis.compare_difference(look).p_value,
        harm_bound=analysis.harm_bound(look, higher_is_better=metric.higher_is_better),
    )


def _strata(metric: Metric, cells: _Cells, arms: tuple[str, str]) -> list[Stratum]:
    """Returns the sums and estimates of both arms by phase, without those that are too small."""
    found = []
    for phase in sorted({phase for phase, _ in cells}):
        sums = [cells.get((phase, arm)) for arm in arms]
        pair = [one for one in sums if one is not None]
        if len(pair) == len(arms) and all(one.units > 1 for one in pair):
            estimated = _estimated(metric, phase, (pair[0], pair[1]))
            if estimated is not None:
                found.append(estimated)
    return _without_small(found)


def _without_small(strata: Sequence[Stratum]) -> list[Stratum]:
    """Returns the newest phase and earlier ones, without those that have too few units for ever."""
    units = [sum(arm.units for arm in one.sums) for one in strata]
    least = _SMALL_PHASE * sum(units)
    return [
        one
        for one, number in zip(strata, units, strict=True)
        if one is strata[-1] or number >= least or all(arm.is_enough for arm in one.estimates)
    ]


def _estimated(metric: Metric, phase: int, arms: tuple[PairSums, PairSums]) -> Stratum | None:
    if isinstance(metric, Mean) and metric.covariate:
        adjusted = adjust(arms)
        control, treatment = adjusted.arms
        reduction = adjusted.variance_reduction
        return Stratum(phase, arms, (control, treatment), adjusted.theta, reduction)
    if isinstance(metric, Ratio) and any(arm.of_x.exact_mean <= 0 for arm in arms):
        return None
    estimate = _estimator(metric)
    return Stratum(phase, arms, (estimate(arms[0]), estimate(arms[1])))


def _estimator(metric: Metric) -> Callable[[PairSums], Estimate]:
    if metric.is_proportion:
        return lambda arm: proportion(conversions_of(arm))
    if isinstance(metric, Ratio):
        return ratio
    return lambda arm: mean(arm.of_y)


def conversions_of(arm: PairSums) -> Conversions:
    """Returns the sums of a proportion as counts."""
    return Conversions(arm.units, math.floor(arm.of_y.mean * arm.units + 0.5))


def _conversions_to_pool(look: Look) -> tuple[Conversions, Conversions] | None:
    """Returns the counts of both arms if they are shares of one phase, and enough."""
    if not (look.is_proportion and look.difference.is_enough and len(look.strata) == 1):
        return None
    control, treatment = look.strata[0].sums
    return conversions_of(control), conversions_of(treatment)
