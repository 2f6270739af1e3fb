"""Variance reduction with each user's value from before the experiment (CUPED)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from flagstaff.experiments.statistics.arguments import check_at_least
from flagstaff.experiments.statistics.estimates import Estimate
from flagstaff.experiments.statistics.means import has_enough
from flagstaff.experiments.statistics.sums import PairSums

__all__ = ["Adjusted", "adjust"]


@dataclass(frozen=True)
class Adjusted:
    """The adjusted means of all arms."""

    #: In the order of the arguments.
    arms: tuple[Estimate, ...]
    #: So much of x is subtracted.
    theta: float
    #: The share of the variance that is gone, of all arms together. 0.75 is as good as four times
    #: the users. Below 0 only by chance, in arms with different slopes.
    variance_reduction: float


def adjust(arms: Sequence[PairSums], *, is_signed: bool = False) -> Adjusted:
    """Returns the mean of y - theta·(x - mean x) for each arm, mean x being that of all users.

    x is the value before the experiment, so the treatment does not change it. theta is cov(x, y) /
    var(x) within the arms, from the sums of all arms: one theta, so that it adds no difference of
    its own (Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled
    experiments by utilizing pre-experiment data"). The difference is that of an analysis of
    covariance. 0 if x does not vary. `is_signed` is that of `mean`. Raises ValueError without arms,
    and with fewer than 2 users in one.

        >>> control = PairSums(3, y=6, yy=14, x=6, xx=14, xy=13)
        >>> found = adjust([control, PairSums(3, y=10, yy=36, x=7, xx=19, xy=26)])
        >>> round(found.theta, 4), round(found.variance_reduction, 4)
        (0.7857, 0.6173)
        >>> [round(arm.value, 4) for arm in found.arms]
        [2.131, 3.2024]
    """
    if not arms:
        raise ValueError("arms is empty")
    for arm in arms:
        check_at_least(2, users=arm.users)
    of_x = sum((arm.of_x.squares for arm in arms), Fraction(0))
    products = sum((arm.products for arm in arms), Fraction(0))
    theta = products / of_x if of_x else Fraction(0)
    everyone = sum(arm.users for arm in arms)
    mean_x = sum((arm.of_x.exact_mean * arm.users for arm in arms), Fraction(0)) / everyone
    before = sum((_error_squared(arm, Fraction(0)) for arm in arms), Fraction(0))
    after = sum((_error_squared(arm, theta) for arm in arms), Fraction(0))
    return Adjusted(
        arms=tuple(_estimate(arm, theta, mean_x, is_signed=is_signed) for arm in arms),
        theta=float(theta),
        variance_reduction=float(1 - after / before) if before else 0.0,
    )


def _estimate(arm: PairSums, theta: Fraction, mean_x: Fraction, *, is_signed: bool) -> Estimate:
    return Estimate(
        users=arm.users,
        value=float(arm.of_y.exact_mean - theta * (arm.of_x.exact_mean - mean_x)),
        standard_error=math.sqrt(_error_squared(arm, theta)),
        degrees_of_freedom=arm.users - 1,
        is_enough=has_enough(arm.of_y, is_signed=is_signed),
    )


def _error_squared(arm: PairSums, theta: Fraction) -> Fraction:
    """Returns the variance of y - theta·x, divided by the number of users."""
    squares = arm.of_y.squares - 2 * theta * arm.products + theta * theta * arm.of_x.squares
    return max(squares, Fraction(0)) / ((arm.users - 1) * arm.users)
