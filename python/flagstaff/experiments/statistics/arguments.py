"""Checks of arguments. The messages name the argument."""

from __future__ import annotations

import math


def check_finite(**numbers: float) -> None:
    """Raises ValueError if a number is not finite, or is an int too large for a float."""
    for name, number in numbers.items():
        try:
            is_finite = math.isfinite(number)
        except OverflowError:
            raise ValueError(f"{name} is too large") from None
        if not is_finite:
            raise ValueError(f"{name} is {number}, but must be finite")


def check_positive(**numbers: float) -> None:
    """Raises ValueError if a number is not finite and above 0."""
    check_finite(**numbers)
    for name, number in numbers.items():
        if number <= 0:
            raise ValueError(f"{name} is {number}, but must be above 0")


def check_at_least(least: float, **numbers: float) -> None:
    """Raises ValueError if a number is not finite or below `least`."""
    check_finite(**numbers)
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} is {number}, but must be at least {least:g}")


def check_count(**numbers: float) -> None:
    """Raises ValueError if a number is not a whole number of 0 or more."""
    check_at_least(0, **numbers)
    for name, number in numbers.items():
        if number != int(number):
            raise ValueError(f"{name} is {number}, but must be a whole number")


def check_alpha(**numbers: float) -> None:
    """Raises ValueError if a number is not above 0 and below 1."""
    for name, number in numbers.items():
        # NaN fails too.
        if not 0 < number < 1:
            raise ValueError(f"{name} is {number}, but must be above 0 and below 1")
