"""What each step of a plan can see with the present traffic, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from flagstaff._words.text import localized
from flagstaff._words.times import duration
from flagstaff.rollouts.admin.figures import Figures
from flagstaff.rollouts.admin.texts import (
    NONE,
    capitalized,
    guard_label,
    ratio_text,
    users_text,
)
from flagstaff.rollouts.forecast import (
    GuardForecast,
    StepForecast,
    forecast,
    rounded_seconds,
    traffic_of,
)
from flagstaff.rollouts.guards import guards_from_json, numbered
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.stored import steps_of

_ALL = 100


@dataclass(frozen=True)
class ForecastRow:
    """What one step can see."""

    percent: str
    #: Users inside within the dwell time, and when the required number is reached.
    users: str
    required_after: str
    #: One sentence for each guard.
    guards: list[str]


def forecast_rows(plan: Plan, figures: Figures) -> list[ForecastRow]:
    """Returns a row for each step. Makes no query."""
    guards = guards_from_json(plan.guards)
    traffic = traffic_of(figures.evidence, figures.seconds)
    found = forecast(steps_of(plan), guards, traffic, plan.required_users)
    labels = {number: capitalized(guard_label(guard)) for number, guard in numbered(guards)}
    dwell_times = [step.seconds for step in steps_of(plan)]
    return [
        _row(one, labels, seconds, figures.seconds)
        for one, seconds in zip(found, dwell_times, strict=True)
    ]


def _row(
    step: StepForecast, labels: Mapping[int, str], seconds: float, measured: float
) -> ForecastRow:
    if step.percent >= _ALL:
        text = _("all users have the flag, so only function guards watch this step")
        return ForecastRow(f"{step.percent} %", NONE, NONE, [text])
    sentences = [
        _sentence(labels[guard.number], guard, is_long=seconds > measured, measured=measured)
        for guard in step.guards
    ]
    return ForecastRow(
        f"{step.percent} %",
        users_text(step.users_inside),
        NONE if step.seconds_for_users is None else _rounded(step.seconds_for_users),
        sentences or [_("no guard")],
    )


def _sentence(label: str, guard: GuardForecast, *, is_long: bool, measured: float) -> str:
    """Returns what a guard can see. Beyond the time of measuring, this is at best so."""
    if guard.seconds_to_double is None:
        return _("%(guard)s: no failures to compare yet") % {"guard": label}
    values = {"guard": label, "time": _rounded(guard.seconds_to_double)}
    text = (
        _("%(guard)s: twice as many failures with the flag are found after about %(time)s") % values
        if guard.seconds_to_double <= measured
        else _("%(guard)s: twice as many failures with the flag are found after at least %(time)s")
        % values
    )
    if guard.smallest_ratio is None:
        return text
    values = {"text": text, "ratio": ratio_text(guard.smallest_ratio)}
    if is_long:
        return _("%(text)s; within the step at best %(ratio)s times as many") % values
    return _("%(text)s; within the step %(ratio)s times as many") % values


def _rounded(seconds: float) -> str:
    return localized(duration(rounded_seconds(seconds)))
