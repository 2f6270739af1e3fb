"""Types of arguments: counts, days, seconds. All raise ArgumentTypeError."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta

_MAX_DAYS = 36_500


def count(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Returns a parser of whole numbers from `least` to `most`."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = _whole_number(text)
        if number is None or number < least or (most is not None and number > most):
            raise ArgumentTypeError(f"expected a whole number {limits}, not {text!r}")
        return number

    return parse


def days(text: str) -> timedelta:
    """Parses a number of days such as "30"."""
    number = _whole_number(text)
    if number is None:
        raise ArgumentTypeError(f"expected a number of days, not {text!r}")
    return timedelta(days=min(number, _MAX_DAYS))


def age(text: str) -> timedelta:
    """Parses a number of days such as "30" or "30d"."""
    return days(text.removesuffix("d"))


def seconds(longest: float, *, allow_zero: bool = True, hint: str = "") -> Callable[[str], float]:
    """Returns a parser of seconds such as "5" or "0.5". `hint` follows the message for text."""
    limits = f"{'from' if allow_zero else 'above'} 0 to {longest:g}"

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            raise ArgumentTypeError(f"expected a number of seconds, not {text!r}{hint}") from error
        if not 0 <= number <= longest or not (number or allow_zero):
            raise ArgumentTypeError(f"expected a number of seconds {limits}, not {text!r}")
        return number

    return parse


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
