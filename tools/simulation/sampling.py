"""Random counts, which the standard library has only from Python 3.12 on, and a bound of them."""

from __future__ import annotations

import math
import random

__all__ = ["binomial", "poisson", "share_bound"]

# Above this mean the normal distribution is close enough: its error is far below the effects here.
_EXACT = 20.0
_HALF = 0.5
_BISECTIONS = 60


def poisson(source: random.Random, mean: float) -> int:
    """Returns a Poisson count: Knuth's product of uniforms, or rounded normal for large means."""
    if mean > _EXACT:
        return max(round(source.gauss(mean, math.sqrt(mean))), 0)
    limit, product, count = math.exp(-mean), source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count


def binomial(source: random.Random, number: int, chance: float) -> int:
    """Returns a binomial count: geometric gaps between successes, or rounded normal."""
    if chance > _HALF:
        return number - binomial(source, number, 1 - chance)
    mean = number * chance
    if mean > _EXACT:
        found = round(source.gauss(mean, math.sqrt(mean * (1 - chance))))
        return min(max(found, 0), number)
    if mean <= 0:
        return 0
    count, position, log_failure = -1, 0, math.log1p(-chance)
    while position <= number:
        position += int(math.log(1 - source.random()) / log_failure) + 1
        count += 1
    return count


def share_bound(found: int, number: int, alpha: float = 0.01) -> float:
    """Returns the upper bound of Clopper and Pearson (1934): the share is above it with `alpha`.

    The share at which at most `found` of `number` have the probability alpha.

        >>> round(share_bound(0, 100), 4) == round(1 - 0.01 ** (1 / 100), 4)
        True
    """
    if found >= number:
        return 1.0
    low, high = found / number, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(found, number, middle) > alpha else (low, middle)
    return high


def _at_most(found: int, number: int, chance: float) -> float:
    if not 0 < chance < 1:
        return float(chance <= 0)
    return math.fsum(
        math.exp(
            math.lgamma(number + 1)
            - math.lgamma(one + 1)
            - math.lgamma(number - one + 1)
            + one * math.log(chance)
            + (number - one) * math.log1p(-chance)
        )
        for one in range(found + 1)
    )
