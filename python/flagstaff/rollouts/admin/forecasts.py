"""What each step of a plan can see with the present traffic, as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from flagstaff.rollouts.admin.figures import Figures
from flagstaff.rollouts.admin.texts import (
    NONE,
    capitalized,
    duration,
    guard_label,
    ratio_text,
    users_text,
)
from flagstaff.rollouts.alpha import numbered
from flagstaff.rollouts.forecast import GuardForecast, StepForecast, forecast, traffic_of
from flagstaff.rollouts.guards import Guard, guards_from_json
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.transitions import steps_of

__all__ = ["ForecastRow", "forecast_rows"]

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
    return [_row(one, labels, guards) for one in found]


def _row(
    step: StepForecast, labels: dict[int, str], guards: list[Guard] | tuple[Guard, ...]
) -> ForecastRow:
    if step.percent >= _ALL:
        return ForecastRow(f"{step.percent} %", NONE, NONE, [*_sentences(step, labels)])
    return ForecastRow(
        f"{step.percent} %",
        users_text(step.users_inside),
        NONE if step.seconds_for_users is None else duration(step.seconds_for_users),
        [*_sentences(step, labels)],
    )


def _sentences(step: StepForecast, labels: dict[int, str]) -> list[str]:
    if step.percent >= _ALL:
        return [_("nobody is outside: only functions of your project are called")]
    return [_sentence(labels[one.number], one) for one in step.guards] or [_("no guard")]


def _sentence(label: str, guard: GuardForecast) -> str:
    if guard.seconds_to_double is None:
        return _("%(guard)s: no failures to compare yet") % {"guard": label}
    text = _("%(guard)s: twice as many trip after about %(time)s") % {
        "guard": label,
        "time": duration(guard.seconds_to_double),
    }
    if guard.smallest_ratio is None:
        return text
    more = _("%(text)s; within the step %(ratio)s times as many")
    return more % {"text": text, "ratio": ratio_text(guard.smallest_ratio)}
