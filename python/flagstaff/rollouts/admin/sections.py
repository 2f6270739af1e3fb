"""The sections of the page of a plan: its steps as a drawing, and a line for each guard."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration, local_time_text
from flagstaff.admin.row_page import Section
from flagstaff.admin.table import Column, Table
from flagstaff.admin.words import badge, two_lines
from flagstaff.conf import conf
from flagstaff.rollouts.admin.texts import NONE, state_sentence
from flagstaff.rollouts.evidence import verdict_of
from flagstaff.rollouts.guards import FUNCTION, Guard, guard_name, numbered
from flagstaff.rollouts.models import Plan, State, StepRun
from flagstaff.rollouts.steps import ALL, Step
from flagstaff.rollouts.verdict import times

# The heights of the drawing, in pixels: the base, a column of 100 %, and the least column.
_HEIGHT, _BASE, _FULL, _LEAST = 150, 128, 100, 3
# The space between two columns, as a share of a column.
_GAP = 0.12
# The labels for which a phone has room.
_MAX_LABELS = 6


class Measured:
    """What the workers have counted for a plan, at a trip or in its newest run."""

    def __init__(self, plan: Plan) -> None:
        """Makes up to six queries."""
        self.runs = [*StepRun.objects.using(conf.database).filter(plan=plan).order_by("id")]
        #: The numbers by name, as JSON has them; empty if nothing was measured.
        self.figures: Mapping[str, Any] = {}
        #: Whether the present step passes, and why; empty if nothing is measured now.
        self.why = ""
        if plan.trip_figures:
            # Reports that came later have changed the counts of its run.
            self.figures = plan.trip_figures
        elif self.runs and self.runs[-1].step is not None:
            verdict = verdict_of(plan, self.runs[-1])
            self.figures = verdict.figures()
            self.why = "" if plan.run_id is None else localized(verdict.why)

    def lines(self) -> Iterator[str]:
        """Yields what follows from the numbers, in sentences."""
        if self.why:
            yield _("%(sentence)s.") % {"sentence": capfirst(self.why)}
        if harm := self.figures.get("smallest_harm"):
            text = _(
                "Harm is found in four of five cases if users with the flag fail %(ratio)s times "
                "as often. The step can miss smaller harm."
            )
            yield text % {"ratio": _ratio(harm)}
        if left_out := self.figures.get("left_out"):
            text = ngettext(
                "%(count)s user was left out, because others of the same network came first.",
                "%(count)s users were left out, because others of their networks came first.",
                left_out,
            )
            yield text % {"count": local_number(left_out)}


def sections_of(plan: Plan, measured: Measured) -> Iterator[Section]:
    """Yields the drawing of the steps, and the table of the guards."""
    yield Section(_("Steps"), _drawing(plan, measured))
    title = _("Guards")
    yield Section(title, _guards(plan, measured.figures).html(title))


# The drawing.


def _drawing(plan: Plan, measured: Measured) -> SafeString:
    """Returns a column for each step, as high as its percentage, and its times."""
    steps = plan.read_steps()
    began = {run.step: run.started_at for run in measured.runs if run.step is not None}
    width, shown = 100 / len(steps), math.ceil(len(steps) / _MAX_LABELS)
    last, parts = len(steps) - 1, list[SafeString]()
    for index, step in enumerate(steps):
        height = max(step.percent * _FULL / 100, _LEAST)
        x, inner = (index + _GAP / 2) * width, (1 - _GAP) * width
        css = _css(plan, index)
        parts.append(_rect(css, x, inner, height))
        if css == "present":
            parts.append(_rect("spent", x, inner * _spent(plan, step), height))
        # The labels beside the last one would touch it.
        if index == last or (index % shown == 0 and last - index >= shown):
            middle, is_now = (index + 0.5) * width, css == "present"
            label = f"{step.percent} %"
            label = _("%(percent)s, now") % {"percent": label} if is_now else label
            parts.append(_text("now" if is_now else "label", middle, _BASE - height - 6, label))
            parts.append(_text("label", middle, _BASE + 17, _time(step)))
    texts = {
        "steps": ", ".join(localized(step.text) for step in steps),
        "state": state_sentence(plan),
    }
    drawing = format_html(
        '<svg class="flagstaff-steps" role="img" width="100%" height="{}" aria-label="{}">{}</svg>',
        *(_HEIGHT, _("Steps: %(steps)s. %(state)s") % texts),
        format_html_join("", "{}", ((one,) for one in parts)),
    )
    present = began.get(plan.step) if plan.step is not None and plan.ended_at is None else None
    if present is None:
        return drawing
    text_below = _("%(percent)s %% since %(time)s")
    values = {"percent": plan.percent, "time": local_time_text(present)}
    return format_html('{}<p class="flagstaff-quiet">{}</p>', drawing, text_below % values)


def _rect(css: str, x: float, width: float, height: float) -> SafeString:
    """Returns a column: x and width in percent, height in pixels. Texts keep their size."""
    html = '<rect class="flagstaff-{}" x="{}%" y="{}" width="{}%" height="{}"></rect>'
    return format_html(html, css, f"{x:.2f}", f"{_BASE - height:g}", f"{width:.2f}", f"{height:g}")


def _text(css: str, x: float, y: float, content: str) -> SafeString:
    html = '<text class="flagstaff-{}" x="{}%" y="{}" text-anchor="middle">{}</text>'
    return format_html(html, css, f"{x:.2f}", f"{y:g}", content)


def _css(plan: Plan, index: int) -> str:
    """Returns the class of a column: before, at or after the present step."""
    if plan.step is None or index > plan.step:
        return "later"
    if index < plan.step or plan.state == State.DONE:
        return "passed"
    return "gone" if plan.state == State.ROLLED_BACK else "present"


def _spent(plan: Plan, step: Step) -> float:
    """Returns the share of the dwell time of the present step that is over."""
    if plan.due_at is None or not step.seconds:
        return 0.0 if plan.state == State.PAUSED else 1.0
    left = (plan.due_at - plan.now).total_seconds() / step.seconds
    return min(max(1 - left, 0.0), 1.0)


def _time(step: Step) -> str:
    return localized(duration(step.seconds)) if step.seconds else NONE


# The guards.


def _guards(plan: Plan, figures: Mapping[str, Any]) -> Table:
    """Returns the table: what fails with the flag and without it, and what follows."""
    guards = plan.read_guards()
    numbers = {guard: number for number, guard in numbered(guards)}
    results = {one["number"]: one for one in figures.get("guards", ())}
    note = _(
        "A step passes when its time is over, and users with the flag fail less than the limit "
        "times as often as the others; or after %(users)s users with the flag, if nothing looks "
        "like harm. Each plan also has a brake: while at most half of the users have the flag, it "
        "rolls back if several of them fail before any user without it."
    )
    return Table(
        [
            Column(_("Guard")),
            Column(_("Failed with the flag"), is_number=True),
            Column(_("Without it"), is_number=True),
            Column(_("Times as often"), is_number=True),
            Column(_("Result")),
        ],
        [_guard(guard, results.get(numbers.get(guard, -1)), figures) for guard in guards],
        empty=_(
            "No guard. The plan is only rolled back if several users with the flag fail before any "
            "user without it."
        ),
        note=note % {"users": local_number(plan.required_users)},
    )


def _guard(guard: Guard, result: Mapping[str, Any] | None, figures: Mapping[str, Any]) -> list[str]:
    """Returns the cells of a guard."""
    name = two_lines(guard_label(guard), _action(guard))
    if guard.kind == FUNCTION:
        return [name, NONE, NONE, NONE, _("the function returns True")]
    limit = _limit(guard)
    if result is None:
        return [name, NONE, NONE, two_lines(NONE, limit), NONE]
    failed, ratio, upper = result["failed"], result["ratio"], result["upper"]
    new = ""
    if failed["new_visitors"]:
        new = _("%(new)s of %(visitors)s visitors are new")
        new %= {"new": failed["new_visitors"], "visitors": failed["visitors"]}
    has_failures = bool(failed["inside"] or failed["outside"])
    often = two_lines(NONE, limit)
    if has_failures:
        # JSON has no infinity.
        bound = _("no upper bound yet") if upper is None else _("at most %(ratio)s")
        texts = {"bound": bound % {"ratio": _ratio(upper or 0)}, "limit": limit}
        shown = _("unlimited") if ratio is None else _ratio(ratio)
        often = two_lines(shown, _("%(bound)s, %(limit)s") % texts)
    open_text = _("not decided") if has_failures else _("no failures yet")
    verdict = badge("undecided", open_text)
    if result["tripped"]:
        verdict = badge("harm", _("harm found"))
    elif result["passed"]:
        verdict = badge("passes", _("passes"))
    return [
        name,
        _side(failed["inside"], figures["users_inside"], new),
        _side(failed["outside"], figures["users_outside"]),
        often,
        verdict,
    ]


def guard_label(guard: Guard) -> str:
    """Returns the name of a guard, such as "latency over 0.5 s"."""
    return localized(guard_name(guard))


def guard_text(guard: Guard) -> str:
    """Returns all that a guard is, such as "latency over 0.5 s, rolls back, limit 2"."""
    parts = [guard_label(guard), _action(guard)]
    return ", ".join(parts if guard.kind == FUNCTION else [*parts, _limit(guard)])


def _action(guard: Guard) -> str:
    return _("holds the plan") if guard.action == "hold" else _("rolls back")


def _limit(guard: Guard) -> str:
    limit = number_format(f"{guard.limit:g}", use_l10n=True)
    text = _("limit %(limit)s") % {"limit": limit}
    if guard.tolerated == 1:
        return text
    tolerated = number_format(f"{guard.tolerated:g}", use_l10n=True)
    return _("%(limit)s, tolerated %(tolerated)s") % {"limit": text, "tolerated": tolerated}


def _side(failed: int, users: int, note: str = "") -> str:
    """Returns the share of failing users, and the two numbers; a dash without users."""
    if not users:
        return NONE
    values = {"failed": local_number(failed), "users": local_number(users)}
    count = _("%(failed)s of %(users)s users") % values
    return two_lines(f"{_plain(_percent(failed, users))} %", count, note)


def _ratio(ratio: float) -> str:
    """Returns a ratio with two significant digits."""
    return _plain(times(ratio))


def _plain(number: float) -> str:
    """Returns a number that is rounded already. Django would cut off digits, not round."""
    return number_format(Decimal(str(number)), use_l10n=True, force_grouping=True)


def _percent(part: float, whole: float) -> float:
    """Returns a share with two significant digits; of one near 100 %, those of the rest."""
    share = min(ALL * part / whole, ALL)
    rounded = times(share)
    return rounded if rounded < ALL or share == ALL else round(ALL - times(ALL - share), 10)
