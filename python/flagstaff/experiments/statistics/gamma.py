"""The survival function of the chi-square distribution, from the incomplete gamma function."""

from __future__ import annotations

import math

from flagstaff.experiments.statistics.arguments import check_at_least, check_positive

_PRECISION = 1e-15
_TINY = 1e-300
_MOST_TERMS = 100_000


def chi_square_survival(statistic: float, degrees_of_freedom: float) -> float:
    """Returns the probability that a chi-square variable is at least `statistic`.

    This is Q(df / 2, statistic / 2), by the series DLMF 8.7.1 for a small statistic and by the
    continued fraction DLMF 8.9.2 for a large one. Raises ValueError if `statistic` is negative or
    `degrees_of_freedom` not above 0.

        >>> round(chi_square_survival(10.828, 1), 6)
        0.001
    """
    check_at_least(0, statistic=statistic)
    check_positive(degrees_of_freedom=degrees_of_freedom)
    a, x = degrees_of_freedom / 2, statistic / 2
    if x == 0:
        return 1.0
    power = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1 - power * _series(a, x) if x < a + 1 else power * _fraction(a, x)


def _series(a: float, x: float) -> float:
    """Returns 1/a + x/(a(a + 1)) + x²/(a(a + 1)(a + 2)) + ..."""
    term = found = 1 / a
    for number in range(1, _MOST_TERMS):
        term *= x / (a + number)
        found += term
        if term < found * _PRECISION:
            break
    return found


def _fraction(a: float, x: float) -> float:
    """Returns 1/(x + 1 - a - 1(1 - a)/(x + 3 - a - 2(2 - a)/(x + 5 - a - ...)))."""
    b = x + 1 - a
    c = 1 / _TINY
    d = found = 1 / b
    for number in range(1, _MOST_TERMS):
        factor = -number * (number - a)
        b += 2
        d = 1 / ((factor * d + b) or _TINY)
        c = (b + factor / c) or _TINY
        found *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return found
