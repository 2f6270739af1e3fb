"""Student's t distribution and the normal one, which is its limit."""

from __future__ import annotations

import math
from statistics import NormalDist

from flagstaff.experiments.statistics.arguments import check_alpha, check_at_least
from flagstaff.experiments.statistics.beta import regularized_beta

_PRECISION = 1e-15
_MOST_STEPS = 200
_NORMAL = NormalDist()


def t_survival(t: float, degrees_of_freedom: float) -> float:
    """Returns the probability that a variable with Student's t distribution is above `t`.

    `degrees_of_freedom` is above 0; inf is the normal distribution. With x = df / (df + t²) and
    `t` above 0 it is I_x(df / 2, 1 / 2) / 2 (Abramowitz and Stegun 26.7.1). Relative error about
    1e-13 in the tail. Raises ValueError.

        >>> round(t_survival(2.0, 1), 12) == round(0.5 - math.atan(2) / math.pi, 12)
        True
        >>> round(t_survival(1.959963984540054, math.inf), 12)
        0.025
    """
    _check_freedom(degrees_of_freedom)
    if math.isnan(t):
        raise ValueError("t is nan, but must be a number")
    if t < 0:
        return 1 - t_survival(-t, degrees_of_freedom)
    square = t * t
    if math.inf in {degrees_of_freedom, square}:
        return math.erfc(t / math.sqrt(2)) / 2
    total = degrees_of_freedom + square
    x, y = degrees_of_freedom / total, square / total
    return regularized_beta(degrees_of_freedom / 2, 0.5, x, y) / 2


def t_critical_value(alpha: float, degrees_of_freedom: float) -> float:
    """Returns the t that is exceeded with probability `alpha`, which is at most 1/2.

    `degrees_of_freedom` is above 0; inf is the normal distribution (the standard library's
    quantile, Wichura 1988). Otherwise Newton's method on the logarithms of t and of `t_survival`,
    within a bracket. Relative error about 1e-13. Raises ValueError.

        >>> round(t_critical_value(0.025, 10), 12)
        2.228138851986
    """
    check_alpha(alpha=alpha)
    _check_freedom(degrees_of_freedom)
    if alpha >= 1 / 2:
        if alpha == 1 / 2:
            return 0.0
        raise ValueError(f"alpha is {alpha}, but must be at most 0.5")
    normal = -_NORMAL.inv_cdf(alpha)
    if degrees_of_freedom == math.inf:
        return normal
    # Student's tails are heavier.
    low, high = normal, 2 * normal
    while t_survival(high, degrees_of_freedom) > alpha:
        low, high = high, 2 * high
    t = low
    for _ in range(_MOST_STEPS):
        found = t_survival(t, degrees_of_freedom)
        low, high = (t, high) if found > alpha else (low, t)
        slope = t * _density(t, degrees_of_freedom) / found
        following = t * math.exp(math.log(found / alpha) / slope)
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - t) <= _PRECISION * t:
            break
        t = following
    return t


def _density(t: float, freedom: float) -> float:
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    power = -(freedom + 1) / 2 * math.log1p(t * t / freedom)
    return math.exp(constant + power) / math.sqrt(freedom * math.pi)


def _check_freedom(degrees_of_freedom: float) -> None:
    if degrees_of_freedom != math.inf:
        check_at_least(0, degrees_of_freedom=degrees_of_freedom)
    if degrees_of_freedom == 0:
        raise ValueError("degrees_of_freedom is 0, but must be above 0")
