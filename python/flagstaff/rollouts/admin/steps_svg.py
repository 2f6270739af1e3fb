"""The chart of the steps: one column each, as high as the percentage, and where the plan is now."""

from __future__ import annotations

from datetime import datetime
from math import ceil

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff._words.times import duration
from flagstaff.admin.svg import chart, line, rect, text
from flagstaff.rollouts.admin.texts import NONE, state_sentence
from flagstaff.rollouts.admin.trips import difference_text
from flagstaff.rollouts.conditions import present_rollout
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.stored import steps_of

_HEIGHT, _BASE, _FULL = 158, 134, 100
_LABEL_GAP, _TIME_GAP, _LEAST = 5, 17, 3
_ALL, _HALF = 100, 2
# The labels for which a phone has room.
_MAX_LABELS = 6
# The height of the line that says what the line of the flag is, and where its sample ends and its
# text begins.
_LEGEND, _SAMPLE = 18, (6, 8)
# The space between two columns, as a share of a column.
_GAP = 0.12
# Near an edge the word "now" stays inside the box.
_EDGE = 12


def steps_chart(plan: Plan, now: datetime, flag: FlagRow | None = None) -> SafeString:
    """Returns the chart, with the rollout of the flag if it differs. Makes no query."""
    steps = steps_of(plan)
    width = _ALL / len(steps)
    shown = ceil(len(steps) / _MAX_LABELS)
    last, marked = len(steps) - 1, plan.step if _has_marker(plan) else None
    parts, labels = [line("axis", (0, _BASE), (_ALL, _BASE))], []
    for index, step in enumerate(steps):
        parts.append(_column(step, index * width, width, _css(plan, index)))
        # The labels beside the last one would touch it.
        if index == last or (index % shown == 0 and last - index >= shown):
            labels += _labels(step, (index + 1 / _HALF) * width, is_marked=index == marked)
    differs = difference_text(plan, flag)
    height = _HEIGHT
    if differs and flag is not None:
        parts += _flag_line(flag)
        height += _LEGEND
    # No line crosses a label.
    parts += [*labels, *_marker(plan, now, width, _("plan") if differs else _("now"))]
    listed = ", ".join(localized(step.text) for step in steps)
    desc = _("Steps: %(steps)s. %(state)s") % {
        "steps": listed,
        "state": f"{state_sentence(plan, now, with_reason=False)} {differs}".strip(),
    }
    title = _("Steps of the rollout of %(key)s") % {"key": plan.key}
    return chart("flagstaff-steps", height, title, desc, parts)


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
        return "gone" if index == plan.step else "passed"
    is_passed = index < plan.step or plan.state == State.DONE
    return "passed" if is_passed else "present"


def _flag_line(flag: FlagRow) -> list[SafeString]:
    """Returns a line at the present rollout of the flag, and below the chart what it is."""
    percent = present_rollout(flag)
    y = _BASE - max(percent * _FULL / _ALL, 0)
    label = _("flag: %(percent)s %%") if flag.enabled else _("flag: off")
    below, (start, end) = _HEIGHT + _LEGEND - _LABEL_GAP, _SAMPLE
    return [
        line("flag-line", (0, y), (_ALL, y)),
        line("flag-line", (0, below - _LABEL_GAP), (start, below - _LABEL_GAP)),
        text("flag-label", end, below, label % {"percent": percent}),
    ]


def _marker(plan: Plan, now: datetime, width: float, name: str) -> list[SafeString]:
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
    label = _("%(name)s: %(percent)s %%") % {"name": name, "percent": step.percent}
    return [
        line("now", (x, _HEIGHT - _BASE - _LABEL_GAP), (x, _BASE)),
        text("now-label", x, _TIME_GAP - _LABEL_GAP, label, anchor),
    ]
