"""What SQL delivers for an arm: sums, of which those of two hours can be added.

A variance is a difference of two large sums: Σy² - (Σy)² / n. That difference is computed exactly
here, so only the rounding inside the sums themselves is left. A sum in `double precision` has a
relative error of about 1e-16, and the variance one of 1e-16·(1 + mean² / variance): values near 1e8
with a spread of 1 have no correct digit left. SQL avoids that by subtracting a constant near the
mean from each value first, the same one in all arms: `sum(y - c), sum((y - c) ^ 2)`. `shift` is
that constant, and the means have it added again.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Conversions:
    """The units of an arm, and those of them that have converted."""

    units: int
    converted: int


@dataclass(frozen=True)
class Sums:
    """The units of an arm, and the sums of their values y less `shift`, and of the squares.

    >>> arm = Sums(3, 7, 21)
    >>> arm.mean, round(arm.variance, 6)
    (2.3333333333333335, 2.333333)
    """

    units: int
    y: float
    yy: float
    shift: float = 0.0

    @property
    def exact_mean(self) -> Fraction:
        """The mean value without rounding."""
        return Fraction(self.y) / self.units + Fraction(self.shift)

    @property
    def mean(self) -> float:
        """The mean value."""
        return float(self.exact_mean)

    @property
    def squares(self) -> Fraction:
        """The sum of the squared distances from the mean."""
        return max(_centred(self.units, self.yy, self.y, self.y), Fraction(0))

    @property
    def variance(self) -> float:
        """The sample variance, with units - 1."""
        return float(self.squares / (self.units - 1))


@dataclass(frozen=True)
class PairSums:
    """The sums of two values of each unit: y and x, their squares and their product.

    For a ratio metric x is the denominator, for CUPED the value of y before the experiment, 0 if
    there is none. `y_shift` and `x_shift` were subtracted from each value. `contributors` are the
    units whose y is not 0, as far as they were counted; no result depends on them. Sums can be
    added if their shifts are the same.

        >>> both = PairSums(2, 3, 5, 1, 1, 2) + PairSums(1, 4, 16, 3, 9, 12)
        >>> both.xy, both.products
        (14, Fraction(14, 3))
    """

    units: int
    y: float
    yy: float
    x: float
    xx: float
    xy: float
    y_shift: float = 0.0
    x_shift: float = 0.0
    contributors: int = 0

    def __add__(self, other: PairSums) -> PairSums:
        return PairSums(
            self.units + other.units,
            self.y + other.y,
            self.yy + other.yy,
            self.x + other.x,
            self.xx + other.xx,
            self.xy + other.xy,
            self.y_shift,
            self.x_shift,
            self.contributors + other.contributors,
        )

    @property
    def of_y(self) -> Sums:
        """The sums of y alone."""
        return Sums(self.units, self.y, self.yy, self.y_shift)

    @property
    def of_x(self) -> Sums:
        """The sums of x alone."""
        return Sums(self.units, self.x, self.xx, self.x_shift)

    @property
    def products(self) -> Fraction:
        """The sum of the products of the distances from both means."""
        return _centred(self.units, self.xy, self.x, self.y)


def _centred(units: int, product: float, first: float, second: float) -> Fraction:
    return Fraction(product) - Fraction(first) * Fraction(second) / units
