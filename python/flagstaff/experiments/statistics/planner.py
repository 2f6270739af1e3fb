"""How many units an experiment needs.

These are the sizes for one look. All of them together are also the size of a `Plan` of always-valid
results: those end earlier where the effect is larger than planned, and later where it is smaller.
The first two formulas need the spread only; `least_units_of_mean` and `least_units_of_proportion`
are what an interval needs besides, which is more where values are skewed or rare.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from flagstaff.experiments.statistics.means import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_UNITS,
)

#: An analysis that is valid at every look needs so many times the units, on average at the planned
#: effect.
LOOKING_COSTS = 1.2


def units_for_proportions(
    control: float, treatment: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Returns the units of each arm that tell two proportions apart, both above 0 and below 1.

    (z_alpha·√(2·p·q) + z_power·√(p1·q1 + p2·q2))² / (p2 - p1)², with p the mean of both and q = 1 -
    p (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 4.2). `alpha` is
    two-sided. Raises ValueError if they are equal.

        >>> units_for_proportions(0.10, 0.12)
        3841
    """
    if control == treatment:
        raise ValueError("treatment is equal to control, but must differ")
    z_alpha, z_power = _quantiles(power, alpha)
    pooled = (control + treatment) / 2
    null = math.sqrt(2 * pooled * (1 - pooled))
    alternative = math.sqrt(control * (1 - control) + treatment * (1 - treatment))
    return _whole(((z_alpha * null + z_power * alternative) / (treatment - control)) ** 2)


def units_for_means(
    standard_deviation: float, effect: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Returns the units of each arm that show a difference of two means.

    2·(z_alpha + z_power)²·s² / effect², with one standard deviation s in both arms (Chow, Shao and
    Wang, "Sample Size Calculations in Clinical Research", 3.2). With CUPED s² is multiplied by 1 -
    variance reduction. For a ratio metric s is that of (y - R·x) / mean x. Raises ValueError.

        >>> units_for_means(10, 1)
        1570
    """
    if effect == 0:
        raise ValueError("effect is 0, but must differ")
    relative = sum(_quantiles(power, alpha)) * standard_deviation / effect
    return _whole(2 * relative * relative)


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
    spread = standard_deviation / mean
    return max(_whole(LEAST_CONTRIBUTORS * (1 + spread * spread)), LEAST_UNITS)


def least_units_of_proportion(share: float) -> int:
    """Returns about how many units an arm needs until its proportion has an interval at all.

    LEAST_CONVERSIONS of the rarer result. In the smaller arm, if they differ. Raises ValueError.

        >>> least_units_of_proportion(0.001)
        10000
    """
    # Rounded, because 10 / 0.001 of floats is above 10,000.
    return _whole(round(LEAST_CONVERSIONS / min(share, 1 - share), 6))


def _quantiles(power: float, alpha: float) -> tuple[float, float]:
    """Returns the normal quantiles of 1 - alpha / 2 and of the power."""
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)


def _whole(units: float) -> int:
    if not math.isfinite(units):
        raise ValueError("the number of units is too large; raise the effect")
    return math.ceil(units)
