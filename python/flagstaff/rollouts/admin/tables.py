"""The steps and the guards of a plan as rows of tables."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from flagstaff._text.local_formats import local_time_text
from flagstaff.conf import conf
from flagstaff.rollouts.admin.texts import (
    action_text,
    capitalized,
    duration,
    guard_label,
    limit_text,
)
from flagstaff.rollouts.guards import CALLABLE, Guard, guards_from_json
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State, StepRun
from flagstaff.rollouts.transitions import steps_of

__all__ = ["guard_rows", "step_rows"]


def step_rows(plan: Plan, now: datetime) -> list[dict[str, object]]:
    """Returns a row for each step: percentage, time, and since when or from when. One query."""
    runs = StepRun.objects.using(conf.database).filter(plan=plan).exclude(step=None)
    began = {run.step: run.started_at for run in runs.order_by("id")}
    rows: list[dict[str, object]] = []
    expected = plan.due_at if plan.state in WATCHED_STATES else plan.starts_at
    is_active = plan.ended_at is None
    for index, step in enumerate(steps_of(plan)):
        is_later = plan.step is None or index > plan.step
        text = ""
        if not is_later and index in began:
            text = _("since %(time)s") if index == plan.step and is_active else _("began %(time)s")
            text %= {"time": local_time_text(began[index])}
        elif is_later and expected is not None:
            text = _("from %(time)s at the earliest") % {
                "time": local_time_text(max(expected, now))
            }
            expected = max(expected, now) + timedelta(seconds=step.seconds)
        rows.append(
            {
                "number": index + 1,
                "percent": f"{step.percent} %",
                "time": duration(step.seconds) if step.seconds else _("ends at once"),
                "when": text,
                "is_present": index == plan.step and plan.state != State.DONE,
            }
        )
    return rows


def guard_rows(plan: Plan) -> list[dict[str, str]]:
    """Returns a row for each guard: what it watches, when a step passes, and what a trip does."""
    rows = []
    for guard in guards_from_json(plan.guards):
        passes = _("the function returns True")
        if guard.kind != CALLABLE:
            passes = _passes(guard)
        label = capitalized(guard_label(guard)) if guard.kind != CALLABLE else guard_label(guard)
        rows.append({"name": label, "passes": passes, "action": action_text(guard)})
    return rows


def _passes(guard: Guard) -> str:
    text = _("users inside fail less than %(limit)s times as often")
    if guard.tolerated > 1:
        text = _(
            "users inside fail less than %(limit)s times as often; up to %(tolerated)s times is "
            "tolerated"
        )
    return text % {"limit": limit_text(guard.limit), "tolerated": limit_text(guard.tolerated)}
