"""What the metrics of an experiment have shown, hour by hour: the figures of a report.

Looks are full hours, so a report shows the same from any page or command, and a p value that was
shown never goes up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

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

__all__ = ["Look", "Result", "results_of"]

#: By phase and variant.
_Cells = dict[tuple[int, str], PairSums]


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
    name: str,
    metric: Metric,
    hours: Iterable[HourSums],
    variants: Sequence[str],
    plan: Plan | None,
    alpha: float = 0.05,
) -> list[Result]:
    """Returns the results of a metric for each treatment. The first variant is the control.

    `plan` is None for a fixed horizon.
    """
    control, *treatments = variants
    by_hour: dict[datetime, list[HourSums]] = defaultdict(list)
    for one in hours:
        by_hour[one.hour].append(one)
    found: dict[str, list[Look]] = {treatment: [] for treatment in treatments}
    cells: _Cells = {}
    for hour in sorted(by_hour):
        for one in by_hour[hour]:
            cell = (one.phase, one.variant)
            cells[cell] = cells[cell] + one.sums if cell in cells else one.sums
        for treatment in treatments:
            look = _look(hour, metric, cells, (control, treatment), plan, alpha)
            if look is not None:
                found[treatment].append(look)
    return [
        Result(name, treatment, looks, _p_value(looks, is_sequential=plan is not None))
        for treatment, looks in found.items()
    ]


def _p_value(looks: Sequence[Look], *, is_sequential: bool) -> float:
    if not looks:
        return 1.0
    return min(look.difference.p_value for look in looks if is_sequential or look is looks[-1])


def _look(  # noqa: PLR0913 (what a look depends on)
    at: datetime,
    metric: Metric,
    cells: _Cells,
    arms: tuple[str, str],
    plan: Plan | None,
    alpha: float,
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
        difference=_compare(effect, plan, alpha),
        lift=None if relative is None else _compare(relative, plan, alpha),
        harm_bound=fixed_lower_bound(worse, alpha) if plan is None else lower_bound(worse, plan),
    )


def _compare(effect: Effect, plan: Plan | None, alpha: float) -> Comparison:
    return fixed_horizon(effect, alpha) if plan is None else always_valid(effect, plan, alpha)


def _strata(
    metric: Metric, cells: _Cells, arms: tuple[str, str]
) -> dict[str, tuple[Estimate, Estimate]]:
    """Returns the estimates of both arms by phase, without phases in which one has too few users."""
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
