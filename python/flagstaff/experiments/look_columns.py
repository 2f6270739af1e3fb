"""The looks at a metric as columns of JSON: some 100 for each treatment, however long it runs.

Numbers have nine digits, which is enough to compute every interval and p value again. The newest
look stands beside them with all digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from flagstaff.experiments.report_data import (
    EffectReport,
    LookColumns,
    LookReport,
    SettingsReport,
    TreatmentReport,
)
from flagstaff.experiments.results import Analysis, Look
from flagstaff.experiments.statistics import Comparison, Estimate, difference, lift

_HOUR = timedelta(hours=1)
_DIGITS = 9
# All looks of two days; a longer time has at most as many periods.
_PERIODS = 48


def as_columns(looks: Sequence[Look], *, is_guardrail: bool) -> LookColumns:
    """Returns what some of the looks are computed from, and their p values."""
    count, looks = len(looks), _kept(looks, is_guardrail=is_guardrail)
    return LookColumns(
        count=count,
        first=looks[0].at if looks else None,
        hours=[(look.at - looks[0].at) // _HOUR for look in looks],
        units=[look.units for look in looks],
        control=[_short(look.control.value) for look in looks],
        control_standard_error=[_short(look.control.standard_error) for look in looks],
        treatment=[_short(look.treatment.value) for look in looks],
        treatment_standard_error=[_short(look.treatment.standard_error) for look in looks],
        p_value=[_short(look.p_value) if look.difference.is_enough else None for look in looks],
    )


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


def shown_looks(result: TreatmentReport, settings: SettingsReport) -> list[LookReport]:
    """Returns the looks of a treatment that its report has, with the settings of the report."""
    first, newest = result.looks.first, result.newest
    if first is None or newest is None:
        return []
    hours = result.looks.hours[:-1]
    times = [first + hour * _HOUR for hour in hours]
    return [*(_look(place, at, result, settings) for place, at in enumerate(times)), newest]


def effect_report(found: Comparison) -> EffectReport:
    """Returns an effect with its interval, whose bounds are None without one."""
    return EffectReport(found.value, found.standard_error, finite(found.low), finite(found.high))


def relative(effect: EffectReport, control: float, *, has_lift: bool) -> EffectReport | None:
    """Returns a difference in relation to the control; None where a lift has no meaning."""
    return effect.scaled(control) if has_lift else None


def finite(number: float | None) -> float | None:
    """Returns the number; None for one that JSON cannot have."""
    return number if number is not None and math.isfinite(number) else None


def _look(
    place: int, at: datetime, result: TreatmentReport, settings: SettingsReport
) -> LookReport:
    """Returns an earlier look, which only results that are valid at every look have."""
    columns = result.looks
    is_enough = columns.p_value[place] is not None
    arm = partial(Estimate, degrees_of_freedom=math.inf, is_enough=is_enough)
    units = columns.units[place]
    control = arm(units, columns.control[place], columns.control_standard_error[place])
    treatment = arm(0, columns.treatment[place], columns.treatment_standard_error[place])
    analysis = Analysis([one.key for one in settings.variants], settings.planned_units)
    compare = partial(analysis.compare, alpha=result.interval_alpha)
    effect, lifted = (
        effect_report(compare(difference(control, treatment))),
        lift(control, treatment),
    )
    return LookReport(
        at=at,
        units=units,
        control=control.value,
        treatment=treatment.value,
        difference=effect,
        relative_difference=relative(effect, control.value, has_lift=lifted is not None),
        lift=None if lifted is None else effect_report(compare(lifted)),
    )


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
