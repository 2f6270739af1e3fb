"""Variance reduction with each unit's value from before the experiment (CUPED)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from flagstaff.experiments.statistics.estimates import Estimate
from flagstaff.experiments.statistics.means import has_enough
from flagstaff.experiments.statistics.sums import PairSums


@dataclass(frozen=True)
class Adjusted:
    """The adjusted means of all arms."""

    #: In the order of the arguments.
    arms: tuple[Estimate, ...]
    #: So much of x is subtracted.
    theta: float
    #: The share of the variance that is gone, of all arms together. 0.75 is as good as four times
    #: the units. Below 0 only by chance, in arms with different slopes.
    variance_reduction: float


def adjust(arms: Sequence[PairSums]) -> Adjusted:
    """Returns the mean of y - theta·(x - mean x) for each arm, mean x being that of all units.

    x is the value before the experiment, so the treatment does not change it. theta is cov(x, y) /
    var(x) within the arms, from the sums of all arms: one theta, so that it adds no difference of
    its own (Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled
    experiments by utilizing pre-experiment data"). The difference is that of an analysis of
    covariance. 0 if x does not vary. Each arm has at least 2 units.

        >>> control = PairSums(3, y=6, yy=14, x=6, xx=14, xy=13)
        >>> found = adjust([control, PairSums(3, y=10, yy=36, x=7, xx=19, xy=26)])
        >>> round(found.theta, 4), round(found.variance_reduction, 4)
        (0.7857, 0.6173)
        >>> [round(arm.value, 4) for arm in found.arms]
        [2.131, 3.2024]
    """
    centred = [_Centred.of(arm) for arm in arms]
    of_x = sum((arm.xx for arm in centred), Fraction(0))
    products = sum((arm.xy for arm in centred), Fraction(0))
    theta = products / of_x if of_x else Fraction(0)
    everyone = sum(arm.units for arm in centred)
    mean_x = sum((arm.mean_x * arm.units for arm in centred), Fraction(0)) / everyone
    before = [arm.error_squared(Fraction(0)) for arm in centred]
    after = [arm.error_squared(theta) for arm in centred]
    return Adjusted(
        arms=tuple(
            Estimate(
                units=arm.units,
                value=float(arm.mean_y - theta * (arm.mean_x - mean_x)),
                standard_error=math.sqrt(error_squared),
                is_enough=arm.is_enough,
            )
            for arm, error_squared in zip(centred, after, strict=True)
        ),
        theta=float(theta),
        variance_reduction=float(1 - sum(after) / sum(before)) if any(before) else 0.0,
    )


@dataclass(frozen=True)
class _Centred:
    """The exact means of an arm, and the sums of the products of the distances from them."""

    units: int
    mean_y: Fraction
    mean_x: Fraction
    yy: Fraction
    xx: Fraction
    xy: Fraction
    is_enough: bool

    @classmethod
    def of(cls, arm: PairSums) -> _Centred:
        y, x = arm.of_y, arm.of_x
        return cls(
            arm.units,
            y.exact_mean,
            x.exact_mean,
            y.squares,
            x.squares,
            arm.products,
            has_enough(y),
        )

    def error_squared(self, theta: Fraction) -> Fraction:
        """Returns the variance of y - theta·x, divided by the number of units."""
        squares = self.yy - 2 * theta * self.xy + theta * theta * self.xx
        return max(squares, Fraction(0)) / ((self.units - 1) * self.units)
