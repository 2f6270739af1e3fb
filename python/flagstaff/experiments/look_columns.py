"""The looks at a metric as columns of JSON: four weeks of hours take some 50 kB.

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


def as_columns(looks: Sequence[Look]) -> dict[str, Any]:
    """Returns what each look is computed from, and its p value; None where it has no interval."""
    first = looks[0].at if looks else None
    return {
        "first": first,
        "hours": [(look.at - looks[0].at) // _HOUR for look in looks],
        "users": [look.users for look in looks],
        "control": [_short(look.control.value) for look in looks],
        "control_standard_error": [_short(look.control.standard_error) for look in looks],
        "treatment": [_short(look.treatment.value) for look in looks],
        "treatment_standard_error": [_short(look.treatment.standard_error) for look in looks],
        "p_value": [_short(look.p_value) if look.difference.is_enough else None for look in looks],
    }


def number_of_looks(result: Mapping[str, Any]) -> int:
    """Returns how many looks a treatment has."""
    return len(result["looks"]["hours"])


def looks_at(
    places: Sequence[int], result: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns some of the looks, by their place, in the form of the newest one.

    `result` is one of a treatment, and `settings` are those of the report.
    """
    newest = number_of_looks(result) - 1
    return [
        result["newest"] if place == newest else _look(place, result, settings) for place in places
    ]


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
    first = datetime.fromisoformat(columns["first"].replace("Z", "+00:00"))
    users = columns["users"][place]
    is_enough = columns["p_value"][place] is not None
    control, treatment = (
        Estimate(
            number,
            columns[arm][place],
            columns[f"{arm}_standard_error"][place],
            math.inf,
            is_enough,
        )
        for arm, number in (("control", users), ("treatment", 0))
    )
    analysis = Analysis([one["key"] for one in settings["variants"]], settings["planned_users"])
    compare = partial(analysis.compare, alpha=result["interval_alpha"])
    return {
        "at": (first + columns["hours"][place] * _HOUR).isoformat(),
        "users": users,
        "control": control.value,
        "treatment": treatment.value,
        "difference": effect_as_json(difference(control, treatment), compare),
        "lift": effect_as_json(lift(control, treatment), compare),
    }


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
