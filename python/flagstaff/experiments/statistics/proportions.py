"""Conversion and retention: the share of users who did something, within a window if it has one."""

from __future__ import annotations

import math

from flagstaff.experiments.statistics.arguments import check_alpha, check_at_least
from flagstaff.experiments.statistics.comparison import Comparison
from flagstaff.experiments.statistics.estimates import Estimate, difference
from flagstaff.experiments.statistics.student import t_critical_value, t_survival
from flagstaff.experiments.statistics.sums import Conversions

#: An arm needs so many conversions, and so many users without one, before results.
LEAST_CONVERSIONS = 10


def proportion(arm: Conversions) -> Estimate:
    """Returns the share p of converted users, with the standard error √(p(1 - p) / users).

    Raises ValueError without users.

        >>> found = proportion(Conversions(400, 80))
        >>> found.value, round(found.standard_error, 4)
        (0.2, 0.02)
    """
    check_at_least(1, users=arm.users)
    share = arm.converted / arm.users
    others = arm.users - arm.converted
    return Estimate(
        users=arm.users,
        value=share,
        standard_error=math.sqrt(share * (others / arm.users) / arm.users),
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
    look only, at the planned size. The p value is 1 if all users or none have converted. Near alpha
    the two may disagree, because they use two standard errors: the p value decides. Reports show
    them only if both arms have enough conversions. Raises ValueError without users in an arm.

        >>> found = compare_proportions(Conversions(1000, 100), Conversions(1000, 130))
        >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
        (0.03, 0.002, 0.0581)
        >>> round(found.p_value, 4)
        0.0355
    """
    check_alpha(alpha=alpha)
    check_at_least(1, control_users=control.users, treatment_users=treatment.users)
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
    ValueError without users.

        >>> low, high = wilson_interval(Conversions(100, 10))
        >>> round(low, 4), round(high, 4)
        (0.0552, 0.1744)
    """
    check_alpha(alpha=alpha)
    share, users = proportion(arm).value, arm.users
    z = t_critical_value(alpha / 2, math.inf)
    square = z * z / users
    centre = (share + square / 2) / (1 + square)
    width = z / (1 + square) * math.sqrt(share * (1 - share) / users + square / (4 * users))
    low = 0.0 if not arm.converted else centre - width
    return low, 1.0 if arm.converted == users else centre + width


def _pooled_p_value(control: Conversions, treatment: Conversions, effect: float) -> float:
    share = (control.converted + treatment.converted) / (control.users + treatment.users)
    error = math.sqrt(share * (1 - share) * (1 / control.users + 1 / treatment.users))
    return min(2 * t_survival(abs(effect) / error, math.inf), 1.0) if error else 1.0
