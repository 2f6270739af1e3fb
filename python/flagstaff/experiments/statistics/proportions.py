"""Conversion and retention: the share of units that did something, within a window if any."""

from __future__ import annotations

import math

from flagstaff.experiments.statistics.arguments import check_alpha, check_at_least
from flagstaff.experiments.statistics.comparison import Comparison
from flagstaff.experiments.statistics.estimates import Estimate, difference
from flagstaff.experiments.statistics.student import t_critical_value, t_survival
from flagstaff.experiments.statistics.sums import Conversions

#: The conversions that an arm needs before results, and the units without one.
LEAST_CONVERSIONS = 10


def proportion(arm: Conversions) -> Estimate:
    """Returns the share p of converted units, with the standard error √(p(1 - p) / units).

    Raises ValueError without units.

        >>> found = proportion(Conversions(400, 80))
        >>> found.value, round(found.standard_error, 4)
        (0.2, 0.02)
    """
    check_at_least(1, units=arm.units)
    share = arm.converted / arm.units
    others = arm.units - arm.converted
    return Estimate(
        units=arm.units,
        value=share,
        standard_error=math.sqrt(share * (others / arm.units) / arm.units),
        degrees_of_freedom=math.inf,
        is_enough=min(arm.converted, others) >= LEAST_CONVERSIONS,
    )


def compare_proportions(
    control: Conversions, treatment: Conversions, alpha: float = 0.05
) -> Comparison:
    """Returns the difference of two proportions, its pooled z test and Newcombe's interval.

    The test has the standard error √(p(1 - p)(1/n_a + 1/n_b)) of the share p of both arms; the
    interval is the hybrid score interval of Newcombe 1998, "Interval estimation for the difference
    between independent proportions", method 10. `standard_error` is the unpooled one. Valid for one
    look only, at the planned size. The p value is 1 if all units or none have converted. Near alpha
    the two may disagree, because they use two standard errors: the p value decides. Reports show
    them only if both arms have enough conversions. Raises ValueError without units in an arm.

        >>> found = compare_proportions(Conversions(1000, 100), Conversions(1000, 130))
        >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
        (0.03, 0.002, 0.0581)
        >>> round(found.p_value, 4)
        0.0355
    """
    check_alpha(alpha=alpha)
    check_at_least(1, control_units=control.units, treatment_units=treatment.units)
    effect = difference(proportion(control), proportion(treatment))
    before, after = wilson_interval(control, alpha), wilson_interval(treatment, alpha)
    first, second = proportion(control).value, proportion(treatment).value
    return Comparison(
        effect.value,
        effect.standard_error,
        effect.value - math.hypot(second - after[0], before[1] - first),
        effect.value + math.hypot(first - before[0], after[1] - second),
        _pooled_p_value(control, treatment, effect.value),
    )


def wilson_interval(arm: Conversions, alpha: float = 0.05) -> tuple[float, float]:
    """Returns the score interval of one proportion, which misses it with `alpha`.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". Raises
    ValueError without units.

        >>> low, high = wilson_interval(Conversions(100, 10))
        >>> round(low, 4), round(high, 4)
        (0.0552, 0.1744)
    """
    check_alpha(alpha=alpha)
    share, units = proportion(arm).value, arm.units
    z = t_critical_value(alpha / 2, math.inf)
    square = z * z / units
    centre = (share + square / 2) / (1 + square)
    width = z / (1 + square) * math.sqrt(share * (1 - share) / units + square / (4 * units))
    low = 0.0 if not arm.converted else centre - width
    return low, 1.0 if arm.converted == units else centre + width


def _pooled_p_value(control: Conversions, treatment: Conversions, effect: float) -> float:
    share = (control.converted + treatment.converted) / (control.units + treatment.units)
    error = math.sqrt(share * (1 - share) * (1 / control.units + 1 / treatment.units))
    return min(2 * t_survival(abs(effect) / error, math.inf), 1.0) if error else 1.0
