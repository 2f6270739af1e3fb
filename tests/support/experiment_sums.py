"""The sums of units, as SQL computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flagstaff.experiments.statistics.effects import PairSums, Sums


def sums_of(values: Sequence[float], shift: float = 0) -> Sums:
    moved = [value - shift for value in values]
    return Sums(len(values), math.fsum(moved), math.fsum(one * one for one in moved), shift)


def pair_sums_of(
    y: Sequence[float], x: Sequence[float], y_shift: float = 0, x_shift: float = 0
) -> PairSums:
    of_y, of_x = sums_of(y, y_shift), sums_of(x, x_shift)
    xy = math.fsum((one - y_shift) * (other - x_shift) for one, other in zip(y, x, strict=True))
    return PairSums(len(y), of_y.y, of_y.yy, of_x.y, of_x.yy, xy, y_shift, x_shift)
