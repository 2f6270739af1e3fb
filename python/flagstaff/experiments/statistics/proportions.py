"""Conversion: the share of units that did something, within a window if any."""

from __future__ import annotations

import math

from flagstaff.experiments.statistics.estimates import Estimate
from flagstaff.experiments.statistics.sums import Conversions

#: The conversions that an arm needs before results, and the units without one.
LEAST_CONVERSIONS = 10


def proportion(arm: Conversions) -> Estimate:
    """Returns the share p of converted units, with the standard error √(p(1 - p) / units).

    >>> found = proportion(Conversions(400, 80))
    >>> found.value, round(found.standard_error, 4)
    (0.2, 0.02)
    """
    share = arm.converted / arm.units
    others = arm.units - arm.converted
    return Estimate(
        units=arm.units,
        value=share,
        standard_error=math.sqrt(share * (others / arm.units) / arm.units),
        is_enough=min(arm.converted, others) >= LEAST_CONVERSIONS,
    )
