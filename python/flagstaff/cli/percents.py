"""What was typed for a share of all users → a whole number."""

from __future__ import annotations

from argparse import ArgumentTypeError

from flagstaff.rollouts import EVERYONE

__all__ = ["percent"]


def percent(text: str) -> int:
    """The number of a text such as "25" or "25%". Raises ArgumentTypeError."""
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= EVERYONE):
        raise ArgumentTypeError(f"expected a whole number from 0 to {EVERYONE}, not {text!r}")
    return int(digits)
