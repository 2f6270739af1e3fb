"""What was typed for a share of all users → a whole number."""

from __future__ import annotations

from argparse import ArgumentTypeError

__all__ = ["percent"]

_EVERYONE = 100


def percent(text: str) -> int:
    """The number of a text such as "25" or "25%". Raises ArgumentTypeError."""
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdigit() and int(digits) <= _EVERYONE):
        raise ArgumentTypeError(f"expected a whole number from 0 to 100, not {text!r}")
    return int(digits)
