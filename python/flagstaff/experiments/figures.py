"""The figures of a report as texts, in the active language."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from django.utils.formats import date_format, number_format

from flagstaff._text import say
from flagstaff._text.times import local_time
from flagstaff.experiments.report_data import EffectReport

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"

_MINUS = "\N{MINUS SIGN}"
# No line begins with the sign.
_PERCENT = "\N{NO-BREAK SPACE}%"
_ALL = 100
# Digits of a number that is neither a count nor a percentage.
_DIGITS = 4
# Percentages from here on have one decimal.
_LARGE_PERCENT = 10
_SMALLEST_P = 0.0001
_MOST_DECIMALS = 4
# Smaller numbers are what sums of floats leave over.
_SMALLEST = 1e-9


def count_text(count: float) -> str:
    """Returns a number of units, rounded."""
    return _grouped(round(count), 0)


def percent_text(share: float) -> str:
    """Returns a share as a percentage, such as "9.53 %"."""
    return f"{points_text(share)}{_PERCENT}"


def percent_number_text(share: float) -> str:
    """Returns a share as a percentage with as few digits as a number of an axis has."""
    return f"{number_text(_ALL * share)}{_PERCENT}"


def points_text(share: float) -> str:
    """Returns a share times 100. Small ones have more decimals."""
    points = _ALL * share
    if not round(points, _MOST_DECIMALS):
        return "0"
    decimals = (
        1 if abs(points) >= _LARGE_PERCENT else 2 if abs(points) >= 1 / 10 else _MOST_DECIMALS
    )
    return _grouped(points, decimals)


def number_text(number: float) -> str:
    """Returns a number with four significant digits, or more if it has more before the point."""
    if abs(number) < _SMALLEST:
        return "0"
    decimals = max(_DIGITS - 1 - math.floor(math.log10(abs(number))), 0)
    text = f"{number:.{decimals}f}"
    if decimals:
        text = text.rstrip("0").rstrip(".")
    return number_format(text, use_l10n=True, force_grouping=True)


def signed(number: float, write: Callable[[float], str]) -> str:
    """Returns a difference with its sign."""
    text = write(abs(number))
    if text == write(0.0):
        return text
    return f"{'+' if number > 0 else _MINUS}{text}"


def interval_text(effect: EffectReport, write: Callable[[float], str]) -> str:
    """Returns the bounds of an interval, such as "+1 % to +5 %"."""
    low, high = effect["low"], effect["high"]
    if low is not None and high is not None:
        return say("{low} to {high}", low=signed(low, write), high=signed(high, write)).local
    if low is not None:
        return say("at least {bound}", bound=signed(low, write)).local
    if high is not None:
        return say("at most {bound}", bound=signed(high, write)).local
    return say("too few units for an interval").local


def level_text(alpha: float) -> str:
    """Returns the level of an interval, such as "97.5 %"."""
    return f"{number_format(f'{_ALL * (1 - alpha):.4g}', use_l10n=True)}{_PERCENT}"


def p_text(p_value: float | None) -> str:
    """Returns a p value. Below 1 in 10,000 it only matters that it is small."""
    if p_value is None:
        return NONE
    if p_value < _SMALLEST_P:
        return f"< {number_format(str(_SMALLEST_P), use_l10n=True)}"
    return _grouped(p_value, _MOST_DECIMALS)


def p_sentence(p_value: float) -> str:
    """Returns the same with its name, such as "p = 0.0312"."""
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def time_of(text: str) -> datetime:
    """Returns a time of a report."""
    # Python 3.10 does not know "Z".
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def hour_text(at: datetime) -> str:
    """Returns the full hour of a look."""
    local = local_time(at)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"


def _grouped(number: float, decimals: int) -> str:
    # Django cuts off the other digits.
    rounded = round(number, decimals)
    return number_format(rounded, decimals, use_l10n=True, force_grouping=True)
