"""The chart of the steps: one column each, as high as the percentage, and where the plan is now."""

from __future__ import annotations

from datetime import datetime
from math import ceil

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._words.duration import duration
from flagstaff._words.message import localized
from flagstaff.admin.svg import chart, line, rect, text
from flagstaff.rollouts.admin.texts import NONE, state_sentence
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.transitions import steps_of

_HEIGHT, _BASE, _FULL = 158, 134, 100
_LABEL_GAP, _TIME_GAP, _LEAST = 5, 17, 3
_ALL, _HALF = 100, 2
# The labels for which a phone has room.
_MAX_LABELS = 6
# The space between two columns, as a share of a column.
_GAP = 0.12
# Near an edge the word "now" stays inside the box.
_EDGE = 12


def steps_chart(plan: Plan, now: datetime) -> SafeString:
    """Returns the chart. Makes no query."""
    steps = steps_of(plan)
    width = _ALL / len(steps)
    shown = ceil(len(steps) / _MAX_LABELS)
    last, marked = len(steps) - 1, plan.step if _has_marker(plan) else None
    parts = [line("axis", (0, _BASE), (_ALL, _BASE))]
    for index, step in enumerate(steps):
        parts.append(_column(step, index * width, width, _css(plan, index)))
        # The labels beside the last one would touch it.
        if index == last or (index % shown == 0 and last - index >= shown):
            parts += _labels(step, (index + 1 / _HALF) * width, is_marked=index == marked)
    parts += _marker(plan, now, width)
    listed = ", ".join(localized(step.text) for step in steps)
    desc = _("Steps: %(steps)s. %(state)s") % {
        "steps": listed,
        "state": state_sentence(plan, now),
    }
    title = _("Steps of the rollout of %(key)s") % {"key": plan.key}
    return chart("flagstaff-steps", _HEIGHT, title, desc, parts)


def _column(step: Step, x: float, width: float, css: str) -> SafeString:
    gap, height = width * _GAP, _height(step)
    return rect(css, x + gap / _HALF, _BASE - height, width - gap, height)


def _labels(step: Step, middle: float, *, is_marked: bool) -> list[SafeString]:
    """Returns the time of a column, and its percentage, unless the marker has it."""
    time = localized(duration(step.seconds)) if step.seconds else NONE
    parts = [text("quiet", middle, _BASE + _TIME_GAP, time, "middle")]
    if not is_marked:
        top = _BASE - _height(step) - _LABEL_GAP
        parts.append(text("label", middle, top, f"{step.percent} %", "middle"))
    return parts


def _height(step: Step) -> float:
    return max(step.percent * _FULL / _ALL, _LEAST)


def _has_marker(plan: Plan) -> bool:
    return plan.step is not None and plan.state not in {State.DONE, State.ROLLED_BACK}


def _css(plan: Plan, index: int) -> str:
    """Returns the class of a column: before, at or after the present step."""
    if plan.step is None or index > plan.step:
        return "later"
    if plan.state == State.ROLLED_BACK:
        return "gone"
    is_passed = index < plan.step or plan.state == State.DONE
    return "passed" if is_passed else "present"


def _marker(plan: Plan, now: datetime, width: float) -> list[SafeString]:
    """Returns a line at the present place in the dwell time of the present step."""
    if plan.step is None or not _has_marker(plan):
        return []
    step = steps_of(plan)[plan.step]
    seconds = step.seconds
    spent = 1.0
    if plan.state == State.PAUSED:
        # The dwell time of a resumed plan starts again.
        spent = 0.0
    elif plan.due_at is not None and seconds:
        spent = 1 - (plan.due_at - now).total_seconds() / seconds
    x = (plan.step + _GAP / _HALF + (1 - _GAP) * min(max(spent, 0.0), 1.0)) * width
    anchor = "start" if x < _EDGE else "end" if x > _ALL - _EDGE else "middle"
    label = _("now: %(percent)s %%") % {"percent": step.percent}
    return [
        line("now", (x, _HEIGHT - _BASE - _LABEL_GAP), (x, _BASE)),
        text("now-label", x, _TIME_GAP - _LABEL_GAP, label, anchor),
    ]
