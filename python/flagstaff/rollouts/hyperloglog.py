"""How many different users were seen, estimated from a HyperLogLog. Pure.

The registers are those of a sketch with 64-bit hashes and a precision of 12: the first 12 bits of a
hash select a register, which keeps the largest rank, the position of the first one in the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from flagstaff._core import REGISTERS

#: The relative standard error of `cardinality`.
CARDINALITY_ERROR = 1.04 / math.sqrt(REGISTERS)

# A hash has 64 bits, of which 12 select the register.
_RANK_BITS = 52


def cardinality(ranks: Mapping[int, int]) -> float:
    """Returns how many different users a HyperLogLog of 4,096 registers has seen.

    `ranks` has the number of registers of each rank, 0 to 53. Registers that are left out have
    rank 0. The improved estimator of Ertl 2017 ("New cardinality estimation algorithms for
    HyperLogLog sketches", arXiv 1702.01284, algorithm 6), which has no ranges and no tables of
    corrections. Its relative standard error is CARDINALITY_ERROR, 1.6 %.

        >>> cardinality({})
        0.0
        >>> round(cardinality({1: 5, 2: 3, 4: 2}))
        10
    """
    counts = [ranks.get(rank, 0) for rank in range(_RANK_BITS + 2)]
    counts[0] = REGISTERS - sum(counts[1:])
    if counts[0] == REGISTERS:
        return 0.0
    total = REGISTERS * _tau(1 - counts[-1] / REGISTERS)
    for count in reversed(counts[1:-1]):
        total = (total + count) / 2
    total += REGISTERS * _sigma(counts[0] / REGISTERS)
    return REGISTERS * REGISTERS / (2 * math.log(2) * total) if total else math.inf


def share_error(users_inside: float, users_outside: float) -> float:
    """Returns the relative standard error of theta if both numbers come from `cardinality`.

    theta = a / (a + b), and the errors of a and b are independent, so by the delta method it is
    (1 - theta)·√2 times the error of one. 0 without users inside or outside.

        >>> round(share_error(50, 950), 4)
        0.0218
    """
    if not users_inside or not users_outside:
        return 0.0
    return CARDINALITY_ERROR * math.sqrt(2) * users_outside / (users_inside + users_outside)


def _sigma(x: float) -> float:
    """Returns x + Σ x^(2^k)·2^(k-1) for k from 1, the part of the empty registers."""
    weight, total, previous = 1.0, x, -1.0
    while total != previous:
        x *= x
        previous, total, weight = total, total + x * weight, 2 * weight
    return total


def _tau(x: float) -> float:
    """Returns (1 - x - Σ (1 - x^(2^-k))²·2^-k) / 3 for k from 1, the part of the full registers."""
    if x in {0, 1}:
        return 0.0
    weight, total, previous = 1.0, 1 - x, -1.0
    while total != previous:
        x, weight = math.sqrt(x), weight / 2
        previous, total = total, total - (1 - x) ** 2 * weight
    return total / 3
