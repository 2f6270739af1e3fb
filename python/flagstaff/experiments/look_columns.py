"""The looks at a metric as columns of JSON: some 100 for each treatment, however long it runs.

Numbers have nine digits, which is enough to compute every interval and p value again. The newest
look stands beside them with all digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flagstaff.experiments.results import Analysis, Look
from flagstaff.experiments.statistics import Comparison, Effect, Estimate, difference, lift

_HOUR = timedelta(hours=1)
_DIGITS = 9
# All looks of two days; a longer time has at most as many periods.
_PERIODS = 48


def as_columns(looks: Sequence[Look], *, is_guardrail: bool) -> dict[str, Any]:
    """Returns what some of the looks are computed from, and their p values.

    A p value is None where a look has no interval. `count` is the number of all looks.
    """
    count, looks = len(looks), _kept(looks, is_guardrail=is_guardrail)
    return {
        "count": count,
        "first": looks[0].at if looks else None,
        "hours": [(look.at - looks[0].at) // _HOUR for look in looks],
        "units": [look.units for look in looks],
        "control": [_short(look.control.value) for look in looks],
        "control_standard_error": [_short(look.control.standard_error) for look in looks],
        "treatment": [_short(look.treatment.value) for look in looks],
        "treatment_standard_error": [_short(look.treatment.standard_error) for look in looks],
        "p_value": [_short(look.p_value) if look.difference.is_enough else None for look in looks],
    }


def _kept(looks: Sequence[Look], *, is_guardrail: bool) -> list[Look]:
    """Returns the last look of each period, and those that can decide: its smallest p value.

    For a guardrail, its largest bound of harm, too. So what a result remembers of all looks can be
    computed again.
    """
    size = -(-len(looks) // _PERIODS) or 1
    kept: set[int] = set()
    for first in range(0, len(looks), size):
        places = range(len(looks))[first : first + size]
        kept |= {places[-1], min(places, key=lambda place: looks[place].p_value)}
        if is_guardrail:
            kept.add(max(places, key=lambda place: looks[place].harm_bound))
    return [looks[place] for place in sorted(kept)]


def shown_looks(result: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the looks of a treatment's result, in the form of the newest one.

    `settings` are those of the report.
    """
    if result["newest"] is None:
        return []
    earlier = range(len(result["looks"]["hours"]) - 1)
    return [*(_look(place, result, settings) for place in earlier), result["newest"]]


def time_of(text: str) -> datetime:
    """Returns a time of the report."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def effect_as_json(
    effect: Effect | None, compare: Callable[[Effect], Comparison]
) -> dict[str, Any] | None:
    """Returns an effect with its interval, whose bounds are None without one."""
    if effect is None:
        return None
    found = compare(effect)
    return {
        "value": effect.value,
        "standard_error": effect.standard_error,
        "low": finite(found.low),
        "high": finite(found.high),
    }


def finite(number: float | None) -> float | None:
    """Returns the number; None for one that JSON cannot have."""
    return number if number is not None and math.isfinite(number) else None


def _look(place: int, result: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an earlier look, which only results that are valid at every look have."""
    columns = result["looks"]
    first = time_of(columns["first"])
    units = columns["units"][place]
    is_enough = columns["p_value"][place] is not None
    control, treatment = (
        Estimate(
            number,
            columns[arm][place],
            columns[f"{arm}_standard_error"][place],
            math.inf,
            is_enough,
        )
        for arm, number in (("control", units), ("treatment", 0))
    )
    analysis = Analysis(
        [variant["key"] for variant in settings["variants"]], settings["planned_units"]
    )
    compare = partial(analysis.compare, alpha=result["interval_alpha"])
    return {
        "at": (first + columns["hours"][place] * _HOUR).isoformat(),
        "units": units,
        "control": control.value,
        "treatment": treatment.value,
        "difference": effect_as_json(difference(control, treatment), compare),
        "lift": effect_as_json(lift(control, treatment), compare),
    }


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
