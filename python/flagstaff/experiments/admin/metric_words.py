"""The results of a metric in words: what it measures, its effect, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.duration import duration
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.experiments.admin.texts import (
    hour_text,
    interval_text,
    number_text,
    percent_text,
    points_text,
)
from flagstaff.experiments.reporting import Role


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
