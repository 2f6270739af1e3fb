"""What the metrics of an experiment have shown, hour by hour: the figures of a report.

Looks are full hours, so a report shows the same from any page or command, and a p value that was
shown never goes up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from flagstaff.experiments.measuring import HourSums
from flagstaff.experiments.metrics import Mean, Metric, Ratio
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.statistics import (
    Conversions,
    Effect,
    Estimate,
    PairSums,
    Plan,
    adjust,
    always_valid,
    difference,
    lift,
    lower_bound,
    mean,
    proportion,
    ratio,
)

ALPHA = 0.05

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Look:
    """A treatment against the control at the end of an hour."""

    #: The end of the hour.
    at: datetime
    #: Of control and treatment.
    sums: tuple[PairSums, PairSums]
    is_proportion: bool
    control: Estimate
    treatment: Estimate
    difference: Effect
    #: None where a ratio to the control has no meaning.
    lift: Effect | None
    p_value: float
    #: The one-sided lower bound of how much worse the treatment is.
    harm_bound: float
    #: With a covariate: so much of x is subtracted, and the share of the variance that is gone.
    theta: float | None = None
    variance_reduction: float | None = None


@dataclass(frozen=True)
class Result:
    """All looks at a metric for one treatment, the newest one last."""

    treatment: str
    looks: Sequence[Look] = ()

    @property
    def newest(self) -> Look | None:
        """None without a unit whose window is over."""
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


def plan_of(experiment: Experiment) -> Plan:
    """Returns the plan of the results of two of the variants."""
    return Plan(max(2 * experiment.planned_units // len(experiment.variants), 1))


def results_of(
    metric: Metric, hours: Iterable[HourSums], variants: Sequence[str], plan: Plan
) -> list[Result]:
    """Returns the results of a metric for each treatment. The first variant is the control."""
    control, *treatments = variants
    found: dict[str, list[Look]] = {treatment: [] for treatment in treatments}
    for hour, sums in _cumulated(hours):
        for treatment in treatments:
            arms = [sums[arm] for arm in (control, treatment) if arm in sums]
            look = _look(hour + _HOUR, metric, arms, plan)
            if look is not None:
                found[treatment].append(look)
    return [Result(treatment, looks) for treatment, looks in found.items()]


def units_of(hours: Iterable[HourSums]) -> int:
    """Returns the number of units whose window is over."""
    return sum(hour.sums.units for hour in hours)


def _cumulated(hours: Iterable[HourSums]) -> Iterator[tuple[datetime, dict[str, PairSums]]]:
    """Yields each hour with the sums of each variant until its end."""
    sums: dict[str, PairSums] = {}
    by_hour = groupby(sorted(hours, key=attrgetter("hour")), key=attrgetter("hour"))
    for hour, group in by_hour:
        for one in group:
            arm = one.variant
            sums[arm] = sums[arm] + one.sums if arm in sums else one.sums
        yield hour, sums


def _look(at: datetime, metric: Metric, arms: Sequence[PairSums], plan: Plan) -> Look | None:
    """Returns a look at both arms; None where one of them has no estimate yet."""
    both = [arm for arm in arms if arm.units > 1]
    is_ratio = isinstance(metric, Ratio)
    if len(both) < 2 or (is_ratio and any(arm.of_x.exact_mean <= 0 for arm in both)):  # noqa: PLR2004
        return None
    theta = variance_reduction = None
    if isinstance(metric, Mean) and metric.covariate:
        adjusted = adjust(both)
        control, treatment = adjusted.arms
        theta, variance_reduction = adjusted.theta, adjusted.variance_reduction
    else:
        control, treatment = map(_estimator(metric), both)
    effect = difference(control, treatment)
    worse = -effect if metric.higher_is_better else effect
    return Look(
        at=at,
        sums=(both[0], both[1]),
        is_proportion=metric.is_proportion,
        control=control,
        treatment=treatment,
        difference=effect,
        lift=lift(control, treatment),
        p_value=always_valid(effect, plan).p_value,
        harm_bound=lower_bound(worse, plan),
        theta=theta,
        variance_reduction=variance_reduction,
    )


def _estimator(metric: Metric) -> Callable[[PairSums], Estimate]:
    if metric.is_proportion:
        return lambda arm: proportion(conversions_of(arm))
    if isinstance(metric, Ratio):
        return ratio
    return lambda arm: mean(arm.of_y)


def conversions_of(arm: PairSums) -> Conversions:
    """Returns the sums of a proportion as counts."""
    return Conversions(arm.units, math.floor(arm.of_y.mean * arm.units + 0.5))
