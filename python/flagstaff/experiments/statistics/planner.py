"""How many units an experiment needs, what it can see with those it has, and how long it takes.

These are the sizes of a fixed horizon. Twice the units per arm is also the size of a `Plan` of
always-valid results: those end earlier where the effect is larger than planned, and later where it
is smaller. Formulas of sizes need the spread only; `least_units_of_mean` and
`least_units_of_proportion` are what an interval needs besides, which is more where values are
skewed or rare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flagstaff.experiments.statistics.arguments import (
    check_alpha,
    check_at_least,
    check_finite,
    check_positive,
)
from flagstaff.experiments.statistics.means import LEAST_CONTRIBUTORS, LEAST_UNITS
from flagstaff.experiments.statistics.proportions import LEAST_CONVERSIONS
from flagstaff.experiments.statistics.student import t_critical_value

#: An analysis that is valid at every look needs so many times the units, on average at the planned
#: effect.
LOOKING_COSTS = 1.2
_BISECTIONS = 200
_HALF = 0.5


@dataclass(frozen=True)
class Design:
    """What an experiment is planned with. Raises ValueError."""

    #: Two-sided.
    alpha: float = 0.05
    #: The probability to see the planned effect, at least 1/2.
    power: float = 0.8
    #: Units of the treatment for each unit of the control.
    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(alpha=self.alpha, power=self.power)
        check_at_least(_HALF, power=self.power)
        check_positive(ratio=self.ratio)

    @property
    def z_alpha(self) -> float:
        """The normal quantile of 1 - alpha / 2."""
        return t_critical_value(self.alpha / 2, math.inf)

    @property
    def z_power(self) -> float:
        """The normal quantile of the power."""
        return t_critical_value(1 - self.power, math.inf)


_USUAL = Design()


@dataclass(frozen=True)
class SampleSize:
    """The units of each arm."""

    control: int
    treatment: int

    @property
    def total(self) -> int:
        """The units of both arms: the size of a `Plan`."""
        return self.control + self.treatment


def sample_size_of_proportions(
    control: float, treatment: float, design: Design = _USUAL
) -> SampleSize:
    """Returns the units needed to tell two proportions apart.

    (z_alpha·√(2·p·q) + z_power·√(p1·q1 + p2·q2))² / (p2 - p1)² units per arm, with p the mean of
    both and q = 1 - p; with a ratio other than 1 the weighted mean (Fleiss, Levin and Paik,
    "Statistical Methods for Rates and Proportions", 4.2). Raises ValueError.

        >>> sample_size_of_proportions(0.10, 0.12)
        SampleSize(control=3841, treatment=3841)
    """
    check_alpha(control=control, treatment=treatment)
    if control == treatment:
        raise ValueError("treatment is equal to control, but must differ")
    return _size(_units_of_proportions(control, treatment, design), design)


def sample_size_of_means(
    standard_deviation: float, effect: float, design: Design = _USUAL
) -> SampleSize:
    """Returns the units needed to see a difference of two means.

    (z_alpha + z_power)²·s²·(1 + 1/ratio) / effect² units of the control, with one standard
    deviation s in both arms (Chow, Shao and Wang, "Sample Size Calculations in Clinical Research",
    3.2). With CUPED s² is multiplied by 1 - variance reduction. For a ratio metric s is that of
    (y - R·x) / mean x. Raises ValueError.

        >>> sample_size_of_means(10, 1)
        SampleSize(control=1570, treatment=1570)
    """
    check_positive(standard_deviation=standard_deviation)
    check_finite(effect=effect)
    if effect == 0:
        raise ValueError("effect is 0, but must differ")
    relative = (design.z_alpha + design.z_power) * standard_deviation / effect
    return _size(relative * relative * (1 + 1 / design.ratio), design)


def detectable_proportion(control: float, units: int, design: Design = _USUAL) -> float | None:
    """Returns the smallest proportion above `control` that `units` tell apart from it.

    `units` are those of the control; the inverse of `sample_size_of_proportions`, by bisection.
    None if not even 1 is. Raises ValueError.

        >>> round(detectable_proportion(0.10, 3841), 4)
        0.12
        >>> detectable_proportion(0.9, 10) is None
        True
    """
    check_alpha(control=control)
    check_at_least(1, units=units)
    low, high = control, 1.0
    if _units_of_proportions(control, high, design) > units:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        needed = _units_of_proportions(control, middle, design)
        low, high = (middle, high) if needed > units else (low, middle)
    return high


def detectable_mean_difference(
    standard_deviation: float, units: int, design: Design = _USUAL
) -> float:
    """Returns the smallest difference of two means that `units` of the control detect.

    The inverse of `sample_size_of_means`: (z_alpha + z_power)·s·√((1 + 1/ratio) / units). Raises
    ValueError.

        >>> round(detectable_mean_difference(10, 1570), 2)
        1.0
    """
    check_positive(standard_deviation=standard_deviation)
    check_at_least(1, units=units)
    relative = (design.z_alpha + design.z_power) * standard_deviation
    return relative * math.sqrt((1 + 1 / design.ratio) / units)


def least_units_of_mean(mean: float, standard_deviation: float) -> int:
    """Returns about how many units an arm needs until its mean has an interval at all.

    LEAST_CONTRIBUTORS·(1 + (s / mean)²), at least LEAST_UNITS, for the mean and the standard
    deviation s of all units, those with 0 included: they have an effective number of
    LEAST_CONTRIBUTORS (see `has_enough`) on average. In the smaller arm, if they differ. Raises
    ValueError.

        >>> least_units_of_mean(2.0, 3.0)
        163
        >>> least_units_of_mean(0.5, 15.0)
        45050
    """
    check_positive(mean=mean, standard_deviation=standard_deviation)
    spread = standard_deviation / mean
    needed = LEAST_CONTRIBUTORS * (1 + spread * spread)
    check_finite(units=needed)
    return max(math.ceil(needed), LEAST_UNITS)


def least_units_of_proportion(share: float) -> int:
    """Returns about how many units an arm needs until its proportion has an interval at all.

    LEAST_CONVERSIONS of the rarer result. In the smaller arm, if they differ. Raises ValueError.

        >>> least_units_of_proportion(0.001)
        10000
    """
    check_alpha(share=share)
    # Rounded, because 10 / 0.001 of floats is above 10,000.
    return math.ceil(round(LEAST_CONVERSIONS / min(share, 1 - share), 6))


def days_needed(units: int, units_per_day: float) -> int:
    """Returns the days until `units` are in the experiment, rounded up.

    `units` are those of all arms, `units_per_day` those that are new in the experiment. Their
    number falls from day to day where the same units come back, so this is the least.
    Raises ValueError.

        >>> days_needed(7_682, 500)
        16
    """
    check_at_least(0, units=units)
    check_positive(units_per_day=units_per_day)
    return math.ceil(units / units_per_day)


def _units_of_proportions(control: float, treatment: float, design: Design) -> float:
    ratio = design.ratio
    pooled = (control + ratio * treatment) / (1 + ratio)
    null = math.sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    alternative = math.sqrt(control * (1 - control) + treatment * (1 - treatment) / ratio)
    return ((design.z_alpha * null + design.z_power * alternative) / (treatment - control)) ** 2


def _size(control: float, design: Design) -> SampleSize:
    check_finite(units=control)
    units = math.ceil(control)
    return SampleSize(units, math.ceil(units * design.ratio))
