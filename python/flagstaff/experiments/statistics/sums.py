"""What SQL delivers for an arm: sums, of which those of two hours can be added.

A variance is a difference of two large sums: Σy² - (Σy)² / n. That difference is computed exactly
here, so only the rounding inside the sums themselves is left. Sums of `numeric` or integers have
none; pass them as int. A sum in `double precision` has a relative error of about 1e-16, and the
variance one of 1e-16·(1 + mean² / variance): values near 1e8 with a spread of 1 have no correct
digit left. SQL avoids that by subtracting a constant near the mean from each value first, the same
one in all arms: `sum(y - c), sum((y - c) ^ 2)`. `shift` is that constant, and the means have it
added again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from flagstaff.experiments.statistics.arguments import check_at_least, check_count, check_finite

# Rounded sums may contradict each other by so much.
_TOLERANCE = Fraction(1, 10**9)
# Products of floats above have all their digits.
_LEAST_EXACT = 1e-290


@dataclass(frozen=True)
class Conversions:
    """The units of an arm, and those of them that have converted.

        >>> Conversions(100, 10) + Conversions(50, 7)
        Conversions(units=150, converted=17)

    Raises ValueError.
    """

    units: int
    converted: int

    def __post_init__(self) -> None:
        check_count(units=self.units, converted=self.converted)
        if self.converted > self.units:
            raise ValueError(f"converted is {self.converted}, but units is {self.units}")

    def __add__(self, other: Conversions) -> Conversions:
        return Conversions(self.units + other.units, self.converted + other.converted)


@dataclass(frozen=True)
class Sums:
    """The units of an arm, and the sums of their values y less `shift`, and of the squares.

        >>> both = Sums(2, 3, 5) + Sums(1, 4, 16)
        >>> both, both.mean, round(both.variance, 6)
        (Sums(units=3, y=7, yy=21, shift=0.0), 2.3333333333333335, 2.333333)

    Raises ValueError, also if two sums with different shifts are added.
    """

    units: int
    y: float
    yy: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_count(units=self.units)
        check_finite(y=self.y, shift=self.shift)
        check_at_least(0, yy=self.yy)
        _check_square(self.units, y=self.y, yy=self.yy)

    def __add__(self, other: Sums) -> Sums:
        _check_equal(shift=(self.shift, other.shift))
        return Sums(self.units + other.units, self.y + other.y, self.yy + other.yy, self.shift)

    @property
    def exact_mean(self) -> Fraction:
        """The mean value without rounding. Raises ValueError without units."""
        check_at_least(1, units=self.units)
        return Fraction(self.y) / self.units + Fraction(self.shift)

    @property
    def mean(self) -> float:
        """The mean value. Raises ValueError without units."""
        return float(self.exact_mean)

    @property
    def squares(self) -> Fraction:
        """The sum of the squared distances from the mean. Raises ValueError without units."""
        return max(_centred(self.units, self.yy, self.y, self.y), Fraction(0))

    @property
    def variance(self) -> float:
        """The sample variance, with units - 1. Raises ValueError with fewer than 2 units."""
        check_at_least(2, units=self.units)
        return float(self.squares / (self.units - 1))


@dataclass(frozen=True)
class PairSums:
    """The sums of two values of each unit: y and x, their squares and their product.

    For a ratio metric x is the denominator, for CUPED the value of y before the experiment, 0 if
    there is none. `y_shift` and `x_shift` were subtracted from each value. `contributors` are the
    units whose y is not 0, as far as they were counted; no result depends on them.

        >>> both = PairSums(2, 3, 5, 1, 1, 2) + PairSums(1, 4, 16, 3, 9, 12)
        >>> both.xy, both.covariance
        (14, 2.3333333333333335)

    Raises ValueError, also if two sums with different shifts are added.
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

    def __post_init__(self) -> None:
        check_count(units=self.units, contributors=self.contributors)
        check_finite(y=self.y, x=self.x, xy=self.xy, y_shift=self.y_shift, x_shift=self.x_shift)
        check_at_least(0, yy=self.yy, xx=self.xx)
        _check_square(self.units, y=self.y, yy=self.yy)
        _check_square(self.units, x=self.x, xx=self.xx)
        if _is_above(self.xy, self.xy, self.xx, self.yy):
            raise ValueError(f"xy is {self.xy}, but its square must be at most xx·yy")

    def __add__(self, other: PairSums) -> PairSums:
        _check_equal(y_shift=(self.y_shift, other.y_shift), x_shift=(self.x_shift, other.x_shift))
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
        """The sum of the products of the distances from both means. Raises ValueError."""
        return _centred(self.units, self.xy, self.x, self.y)

    @property
    def covariance(self) -> float:
        """The sample covariance, with units - 1. Raises ValueError with fewer than 2 units."""
        check_at_least(2, units=self.units)
        return float(self.products / (self.units - 1))


def _centred(units: int, product: float, first: float, second: float) -> Fraction:
    check_at_least(1, units=units)
    return Fraction(product) - Fraction(first) * Fraction(second) / units


def _check_square(units: int, **sums: float) -> None:
    """Raises ValueError if no values have this sum and this sum of squares (Cauchy-Schwarz)."""
    (name, total), (squares_name, squares) = sums.items()
    if not units and (total or squares):
        raise ValueError(f"{name} and {squares_name} must be 0, because units is 0")
    if _is_above(total, total, units, squares):
        raise ValueError(f"{squares_name} is {squares}, but must be at least {name}² / units")


def _is_above(a: float, b: float, c: float, d: float) -> bool:
    """Returns whether a·b is above c·d by more than rounding explains."""
    # Floats decide nearly all, but not products that overflow or lose digits near 0.
    if a * b <= c * d < math.inf and c * d > _LEAST_EXACT:
        return False
    return Fraction(a) * Fraction(b) > Fraction(c) * Fraction(d) * (1 + _TOLERANCE)


def _check_equal(**pairs: tuple[float, float]) -> None:
    for name, (one, other) in pairs.items():
        if one != other:
            raise ValueError(f"{name} is {one} and {other}, but must be equal to be added")
