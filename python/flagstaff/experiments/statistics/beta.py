"""The regularised incomplete beta function, from which Student's distribution follows."""

from __future__ import annotations

import math

from flagstaff.experiments.statistics.arguments import check_at_least, check_positive
from flagstaff.experiments.statistics.stirling import HALF_LOG_TWO_PI, stirling_error

_PRECISION = 1e-15
# Replaces a 0 in the continued fraction.
_TINY = 1e-300
# The number of terms grows with the root of the larger parameter: enough for 1e10.
_MOST_TERMS = 200_000


def regularized_beta(a: float, b: float, x: float, y: float) -> float:
    """Returns I_x(a, b), the probability that a beta(a, b) variable is below `x`.

    `a` and `b` are above 0, `x` from 0 to 1, and `y` is 1 - x, which the caller knows without
    cancellation. The even part of the continued fraction DLMF 8.17.22 (Didonato and Morris 1992,
    algorithm 708) by Lentz's method, with the symmetry I_x(a, b) = 1 - I_y(b, a) where it converges
    slowly. Relative error about 1e-14 where the symmetry is not used. Raises ValueError.

        >>> round(regularized_beta(2, 3, 0.4, 0.6), 12)
        0.5248
    """
    check_positive(a=a, b=b)
    check_at_least(0, x=x, y=y)
    if x == 0 or y == 0:
        return float(y == 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _lower(b, a, y, x)
    return _lower(a, b, x, y)


def _lower(a: float, b: float, x: float, y: float) -> float:
    return math.exp(_log_power(a, b, x, y)) / _fraction(a, b, x, y)


def _log_power(a: float, b: float, x: float, y: float) -> float:
    """Returns ln(x^a·y^b / B(a, b)).

    With m = a / (a + b) it is a·ln(x / m) + b·ln(y / (1 - m)) and terms of the size of ln a.
    """
    total = a + b
    shift = y * total - b if y < x else a - x * total
    deviance = _scaled_log(a, x * total, -shift) + _scaled_log(b, y * total, shift)
    errors = stirling_error(total) - stirling_error(a) - stirling_error(b)
    return deviance + math.log(a * b / total) / 2 - HALF_LOG_TWO_PI + errors


def _scaled_log(base: float, number: float, shift: float) -> float:
    """Returns base·ln(number / base), where number is base + shift."""
    if abs(shift) < base / 2:
        return base * math.log1p(shift / base)
    return base * math.log(number / base)


def _fraction(a: float, b: float, x: float, y: float) -> float:
    """Returns the even part of the continued fraction, which loses no digits where x is near 1."""
    found = c = _not_zero(_denominator(0, a, b, (x, y)))
    d = 0.0
    for m in range(1, _MOST_TERMS):
        numerator = m * (a + m - 1) * (a + b + m - 1) * (b - m) * x * x / (a + 2 * m - 1) ** 2
        denominator = _denominator(m, a, b, (x, y))
        d = 1 / _not_zero(denominator + numerator * d)
        c = _not_zero(denominator + numerator / c)
        found *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return found


def _denominator(m: int, a: float, b: float, point: tuple[float, float]) -> float:
    x, y = point
    first = (a + m) * (a * y - b * x + 1 + m * (2 - x)) / (a + 2 * m + 1)
    return m + first + (m * (b - m) * x / (a + 2 * m - 1) if m else 0.0)


def _not_zero(number: float) -> float:
    return number or _TINY
