"""How much a rollout may differ from its percentage by chance."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from math import comb

# The range has 95 % of all flags; 2.5 % are below, and 2.5 % above.
TAIL = 0.025


@cache
def likely_range(users: int, percent: int) -> tuple[int, int]:
    """Returns how many of the users have a flag at this rollout: at least, and at most.

    A bucket is as good as random, so the number has a binomial distribution.
    """
    chance = percent / 100
    probabilities = [
        comb(users, count) * chance**count * (1 - chance) ** (users - count)
        for count in range(users + 1)
    ]
    low = _first_beyond(TAIL, accumulate(probabilities))
    high = users - _first_beyond(TAIL, accumulate(reversed(probabilities)))
    return low, high


def _first_beyond(limit: float, sums: Iterable[float]) -> int:
    return next(count for count, sum_so_far in enumerate(sums) if sum_so_far > limit)
