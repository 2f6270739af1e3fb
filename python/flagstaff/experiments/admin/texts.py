"""The figures of a report in words, in the language of the request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine import forced_off
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration, local_time, local_time_text
from flagstaff.admin.words import badge
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_data import (
    EffectReport,
    LookReport,
    MetricReport,
    Role,
    TreatmentReport,
)

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


def state_label(state: str) -> SafeString:
    """Returns the state as a coloured label."""
    return badge(state, State(state).label)


def state_labels(experiment: Experiment) -> SafeString:
    """Returns the label of the state; after it, one that says that it is forced off here."""
    label = state_label(experiment.state)
    if experiment.key not in forced_off.keys:
        return label
    is_forced = badge("forced off", _("forced off"), title=forced_off.VARIABLE)
    return format_html("{} {}", label, is_forced)


def search_texts(experiment: Experiment) -> tuple[SafeString, str]:
    """Returns the state, the description and the owner, for the search."""
    texts = filter(None, (experiment.description, experiment.owner))
    return state_label(experiment.state), " · ".join(texts)


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


def effect_text(effect: float, *, is_share: bool) -> str:
    """Returns a size of an effect with its unit: percentage points of a share."""
    if not is_share:
        return number_text(effect)
    return _("%(number)s points") % {"number": points_text(effect)}


def signed(number: float, write: Callable[[float], str]) -> str:
    """Returns a difference with its sign."""
    text = write(abs(number))
    if text == write(0.0):
        return text
    return f"{'+' if number > 0 else _MINUS}{text}"


def interval_text(found: EffectReport, write: Callable[[float], str]) -> str:
    """Returns the bounds of an interval, such as "+1 % to +5 %"."""
    low, high = found.low, found.high
    if low is not None and high is not None:
        return _("%(low)s to %(high)s") % {"low": signed(low, write), "high": signed(high, write)}
    if low is not None:
        return _("at least %(bound)s") % {"bound": signed(low, write)}
    if high is not None:
        return _("at most %(bound)s") % {"bound": signed(high, write)}
    return _("too few units for an interval")


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


def time_text(at: datetime | None) -> str:
    """Returns a time of a report in words; a dash for None."""
    return local_time_text(at) if at else NONE


def hour_text(at: datetime) -> str:
    """Returns the full hour of a look."""
    local = local_time(at)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"


def _grouped(number: float, decimals: int) -> str:
    # Django cuts off the other digits.
    rounded = round(number, decimals)
    return number_format(rounded, decimals, use_l10n=True, force_grouping=True)


class Effect:
    """What decides and is drawn: the difference, relative to the control if that is above 0."""

    def __init__(self, metric: MetricReport, *, is_relative: bool) -> None:
        self.is_relative = is_relative
        self._is_points = not is_relative and metric.is_proportion
        self.name = (
            _("Lift")
            if is_relative
            else _("Difference in percentage points")
            if self._is_points
            else _("Difference")
        )

    def of(self, look: LookReport) -> EffectReport | None:
        """Returns the effect of a look; None for an early one whose control was near 0."""
        return look.relative_difference if self.is_relative else look.difference

    def write(self, number: float) -> str:
        """Returns a size of the effect."""
        if self.is_relative:
            return percent_text(number)
        return points_text(number) if self._is_points else number_text(number)


def verdict(result: TreatmentReport, metric: MetricReport) -> tuple[str, str]:
    """Returns the result of a treatment in words, and the colour of its interval.

    The colour says what the interval shows. Where an earlier look has decided, the words say so.
    """
    found = result.newest.difference if result.newest else None
    if metric.role is Role.GUARDRAIL:
        return _guardrail_verdict(result, metric, found)
    if not result.is_significant or result.decided_difference is None:
        if found is None or found.contains_zero:
            return _("not significant"), "open"
        return _("not significant: the test and the interval differ near the limit"), "open"
    is_better = (result.decided_difference > 0) == metric.higher_is_better
    text = _("better, significant") if is_better else _("worse, significant")
    if found is None or found.contains_zero or (found.value > 0) != (result.decided_difference > 0):
        values = {
            "result": text,
            "time": hour_text(result.decided_at) if result.decided_at else NONE,
        }
        return _("%(result)s at the look of %(time)s; the newest look differs") % values, "open"
    return text, "fine" if is_better else "bad"


def _guardrail_verdict(
    result: TreatmentReport, metric: MetricReport, found: EffectReport | None
) -> tuple[str, str]:
    interval = guardrail_interval(result, metric, found) if found else None
    sides = (interval.low, interval.high) if interval else (None, None)
    least, most = (sides[1], sides[0]) if metric.higher_is_better else sides
    sign = -1 if metric.higher_is_better else 1
    tolerated = result.tolerated_harm or 0.0
    if result.is_harmed:
        if least is not None and sign * least > tolerated:
            return _("worse by more than is tolerated"), "bad"
        return _("worse by more than is tolerated at an earlier look"), "open"
    if most is not None and sign * most <= tolerated:
        return _("within what is tolerated"), "fine"
    if most is None:
        return _("not certain: more harm than tolerated is possible"), "open"
    write = points_text if metric.is_proportion else number_text
    return _("harm up to %(bound)s is possible") % {"bound": signed(most, write)}, "open"


def is_harm_possible(result: TreatmentReport, metric: MetricReport) -> bool:
    """Whether more harm to a guardrail than is tolerated is neither shown nor excluded."""
    if metric.role is not Role.GUARDRAIL or result.is_harmed:
        return False
    return verdict(result, metric)[1] == "open"


def guardrail_interval(
    result: TreatmentReport, metric: MetricReport, found: EffectReport
) -> EffectReport:
    """Returns the interval of a guardrail with the bound that decides, where harm begins."""
    bound = result.harm_bound
    if bound is None or found.low is None or found.high is None:
        return found
    if metric.higher_is_better:
        return replace(found, high=-bound) if -bound >= found.low else found
    return replace(found, low=bound) if bound <= found.high else found


def interval_sentence(
    found: EffectReport, level: str, write: Callable[[float], str], needs: str = ""
) -> str:
    """Returns an interval with its level; without one, what it needs."""
    interval = interval_text(found, write)
    if not found.has_interval:
        return needs or interval
    return _("%(level)s interval: %(interval)s") % {"level": level, "interval": interval}


def facts(metric: MetricReport) -> list[str]:
    """Returns what is measured, and in how many units."""
    units = metric.units
    full = ngettext(
        "%(count)s unit with a full window", "%(count)s units with a full window", units
    ) % {"count": local_number(units)}
    kinds = {
        "conversion": _("share of units with an event within %(window)s"),
        "mean": _("mean per unit, within %(window)s"),
        "ratio": _("ratio of two sums, within %(window)s"),
        "retention": _("share of units that come back on day %(day)s"),
    }
    kind = kinds.get(metric.kind, metric.kind)
    kind %= {"window": localized(duration(metric.window_seconds)), "day": metric.day}
    direction = _("higher is better") if metric.higher_is_better else _("lower is better")
    return [text for text in (metric.description, kind, direction, full) if text]
