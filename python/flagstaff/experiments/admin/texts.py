"""The figures of a report in words, in the language of the request."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.duration import duration
from flagstaff._words.local_formats import local_number, local_time_text
from flagstaff._words.message import localized
from flagstaff._words.times import local_time
from flagstaff.experiments.models import State
from flagstaff.experiments.reporting import Role

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"

_MINUS = "\N{MINUS SIGN}"
# No line begins with the sign.
_PERCENT = "\N{NO-BREAK SPACE}%"
# Digits of a number that is neither a count nor a percentage.
_DIGITS = 4
# Percentages from here on have one decimal.
_LARGE_PERCENT = 10
_SMALLEST_P = 0.0001
_MOST_DECIMALS = 4
# Smaller numbers are what sums of floats leave over.
_SMALLEST = 1e-9
_STATE_CLASSES = {
    State.DRAFT: "none",
    State.RUNNING: "on",
    State.STOPPED: "partial",
    State.SHIPPED: "off",
}


def state_label(state: str) -> SafeString:
    """Returns the state as a coloured label."""
    found = State(state)
    return format_html(
        '<span class="flagstaff-state flagstaff-{}">{}</span>', _STATE_CLASSES[found], found.label
    )


def count_text(count: float) -> str:
    """Returns a number of units, rounded."""
    return _grouped(round(count), 0)


def percent_text(share: float) -> str:
    """Returns a share as a percentage, such as "9.53 %"."""
    return f"{points_text(share)}{_PERCENT}"


def points_text(share: float) -> str:
    """Returns a share times 100. Small ones have more decimals."""
    points = 100 * share
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


def interval_text(found: Mapping[str, Any], write: Callable[[float], str]) -> str:
    """Returns the bounds of an interval, such as "+1 % to +5 %"."""
    low, high = found["low"], found["high"]
    if low is None and high is None:
        return _("too few units for an interval")
    if low is None or high is None:
        known = signed(high if low is None else low, write)
        text = _("at most %(bound)s") if low is None else _("at least %(bound)s")
        return text % {"bound": known}
    return _("%(low)s to %(high)s") % {"low": signed(low, write), "high": signed(high, write)}


def level_text(alpha: float) -> str:
    """Returns the level of an interval, such as "97.5 %"."""
    return f"{number_format(f'{100 * (1 - alpha):.4g}', use_l10n=True)}{_PERCENT}"


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


def time_text(at: str | None) -> str:
    """Returns a time of a report in words; a dash for None."""
    found = parse_datetime(at) if at else None
    return local_time_text(found) if found else NONE


def hour_text(at: str) -> str:
    """Returns the full hour of a look."""
    found = parse_datetime(at)
    if found is None:
        return NONE
    local = local_time(found)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"


def _grouped(number: float, decimals: int) -> str:
    # Django cuts off the other digits.
    rounded = round(number, decimals)
    return number_format(rounded, decimals, use_l10n=True, force_grouping=True)


class Effect:
    """What the charts of a metric draw: the lift, or the difference if there is none."""

    def __init__(self, metric: Mapping[str, Any], *, is_lift: bool) -> None:
        self.key = "lift" if is_lift else "difference"
        self._is_share = is_lift
        self._is_points = not is_lift and metric["is_proportion"]
        self.name = (
            _("Lift")
            if is_lift
            else _("Difference in percentage points")
            if self._is_points
            else _("Difference")
        )

    def write(self, number: float) -> str:
        """Returns a size of the effect."""
        if self._is_share:
            return percent_text(number)
        return points_text(number) if self._is_points else number_text(number)


def verdict(result: Mapping[str, Any], metric: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the result of a treatment in words, and the colour of its chart."""
    if metric["role"] == Role.GUARDRAIL:
        if result["is_harmed"]:
            return _("worse by more than is tolerated"), "bad"
        if _is_within(result, metric):
            return _("within what is tolerated"), "fine"
        return _("no harm beyond what is tolerated is certain"), "open"
    if not result["is_significant"]:
        return _("not significant"), "open"
    is_better = (result["decided_difference"] > 0) == metric["higher_is_better"]
    text = _("better, significant") if is_better else _("worse, significant")
    if _contains_zero(result["newest"]["difference"]):
        # The newest interval alone would say something else.
        text = _("%(result)s at the look of %(time)s") % {
            "result": text,
            "time": hour_text(result["decided_at"]),
        }
    return text, "fine" if is_better else "bad"


def _contains_zero(found: Mapping[str, Any]) -> bool:
    low, high = found["low"], found["high"]
    return (low is None or low <= 0) and (high is None or high >= 0)


def _is_within(result: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    """Whether the whole interval of a guardrail has less harm than is tolerated."""
    found = result["newest"]["difference"] if result["newest"] else None
    bound = found and (found["low"] if metric["higher_is_better"] else found["high"])
    if bound is None:
        return False
    harm: float = -bound if metric["higher_is_better"] else bound
    return bool(harm <= result["tolerated_harm"])


def interval_sentence(
    found: Mapping[str, Any], level: str, write: Callable[[float], str], needs: str = ""
) -> str:
    """Returns an interval with its level; without one, what it needs."""
    interval = interval_text(found, write)
    if found["low"] is None and found["high"] is None:
        return needs or interval
    return _("%(level)s interval: %(interval)s") % {"level": level, "interval": interval}


def facts(metric: Mapping[str, Any]) -> list[str]:
    """Returns what is measured, and in how many units."""
    units = metric["units"]
    full = ngettext(
        "%(count)s unit with a full window", "%(count)s units with a full window", units
    ) % {"count": local_number(units)}
    kinds = {
        "conversion": _("share of units with an event within %(window)s"),
        "mean": _("mean per unit, within %(window)s"),
        "ratio": _("ratio of two sums, within %(window)s"),
        "retention": _("share of units that come back on day %(day)s"),
    }
    kind = kinds.get(metric["kind"], metric["kind"])
    kind %= {"window": localized(duration(metric["window_seconds"])), "day": metric["day"]}
    direction = _("higher is better") if metric["higher_is_better"] else _("lower is better")
    return [text for text in (metric["description"], kind, direction, full) if text]
