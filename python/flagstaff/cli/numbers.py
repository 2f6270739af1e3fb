"""What was typed for a number: a share, days, seconds. All raise ArgumentTypeError."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta

from flagstaff.validators import MAX_PERCENT

__all__ = ["age", "days", "percent", "seconds"]

_MOST_DAYS = 36_500


def percent(text: str) -> int:
    """The number of a text such as "25" or "25%"."""
    number = _whole(text.removesuffix("%").strip())
    if number is None or number > MAX_PERCENT:
        raise ArgumentTypeError(f"expected a whole number from 0 to {MAX_PERCENT}, not {text!r}")
    return number


def days(text: str) -> timedelta:
    """The days of a text such as "30"."""
    number = _whole(text)
    if number is None:
        raise ArgumentTypeError(f"expected a number of days, not {text!r}")
    return timedelta(days=min(number, _MOST_DAYS))


def age(text: str) -> timedelta:
    """The days of a text such as "30" or "30d"."""
    return days(text.removesuffix("d"))


def seconds(text: str, longest: float, *, or_none: bool = True, advice: str = "") -> float:
    """The seconds of a text such as "5" or "0.5", up to the longest, and 0 if there may be none."""
    try:
        number = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"expected seconds, not {text!r}{advice}") from error
    if not 0 <= number <= longest or not (number or or_none):
        least = "from 0" if or_none else "above 0 and up"
        raise ArgumentTypeError(f"expected seconds {least} to {longest:g}, not {text!r}")
    return number


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
