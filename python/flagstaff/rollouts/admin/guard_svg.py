"""The chart of a guard: failing users inside and outside, and their ratio against the limit.

Its last bar is the evidence of harm. It is full when the guard trips.
"""

from __future__ import annotations

import math

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import chart, circle, line, rect, text
from flagstaff.rollouts.admin.texts import (
    evidence_text,
    limit_text,
    ratio_text,
    share_text,
    users_text,
)
from flagstaff.rollouts.alpha import PLAN_ALPHA
from flagstaff.rollouts.results import Evidence, GuardResult

__all__ = ["evidence_sentence", "guard_chart", "ratio_sentence"]

_HEIGHT = 180
_BAR, _TEXT_GAP, _ROW = 10, 6, 38
_FIRST = 14
_AXIS, _TICK, _LIMIT = 112, 8, 134
_EVIDENCE = 158
_ALL = 100
# The larger share fills so much of the width.
_LARGEST = 92
# The axis of the ratio ends so much above the limit and the ratio.
_ABOVE_LIMIT, _ABOVE_RATIO = 2.0, 1.15
# The label of the limit changes sides here.
_MIDDLE = 50


def guard_chart(label: str, result: GuardResult, evidence: Evidence) -> SafeString:
    """Returns the chart of a guard. Makes no query."""
    sides = (
        (_("inside"), "inside", result.failed.inside, evidence.users_inside),
        (_("outside"), "outside", result.failed.outside, evidence.users_outside),
    )
    largest = max(_share(failed, users) for _name, _css, failed, users in sides)
    parts, sentences = [], []
    for row, (name, css, failed, users) in enumerate(sides):
        sentence = _("%(side)s: %(share)s, %(failed)s of %(users)s users") % {
            "side": name,
            "share": share_text(failed, users),
            "failed": users_text(failed),
            "users": users_text(users),
        }
        sentences.append(sentence)
        y = _FIRST + row * _ROW
        parts.append(text("label", 0, y, sentence))
        parts.append(rect("track", 0, y + _TEXT_GAP, _ALL, _BAR))
        width = _share(failed, users) / largest * _LARGEST if largest else 0.0
        parts.append(rect(css, 0, y + _TEXT_GAP, width, _BAR))
    sentences += [ratio_sentence(result), evidence_sentence(result)]
    parts.append(text("label", 0, _FIRST + 2 * _ROW, ratio_sentence(result)))
    parts += [*_ratio_parts(result), *_evidence_parts(result)]
    title = _("Failing users: %(guard)s") % {"guard": label}
    return chart(f"flagstaff-guard-{result.number}", _HEIGHT, title, "; ".join(sentences), parts)


def ratio_sentence(result: GuardResult) -> str:
    """Returns the ratio, its upper bound and the limit in words."""
    if result.ratio is None:
        return _("ratio: no failures to compare")
    values = {"ratio": ratio_text(result.ratio), "upper": ratio_text(result.upper)}
    if math.isinf(result.upper):
        return _("ratio: %(ratio)s, no upper bound yet") % values
    return _("ratio: %(ratio)s, at most %(upper)s") % values


def evidence_sentence(result: GuardResult) -> str:
    """Returns how near the guard is to a trip, in words."""
    return _("evidence of harm: %(evidence)s, trips at %(threshold)s") % {
        "evidence": evidence_text(result.e_value),
        "threshold": ratio_text(result.threshold),
    }


def _ratio_parts(result: GuardResult) -> list[SafeString]:
    """Returns the axis, the limit, the ratio and the line from it to its upper bound."""
    ratio = result.ratio or 0.0
    end = max(result.limit * _ABOVE_LIMIT, ratio * _ABOVE_RATIO if math.isfinite(ratio) else 0.0)
    limit = result.limit / end * _ALL
    label = _("limit %(limit)s") % {"limit": limit_text(result.limit)}
    anchor = "end" if limit > _MIDDLE else "start"
    parts = [
        line("axis", (0, _AXIS), (_ALL, _AXIS)),
        line("limit", (limit, _AXIS - _TICK), (limit, _AXIS + _TICK)),
        text("quiet", limit, _LIMIT, label, anchor),
    ]
    if result.ratio is None:
        return parts
    at, upper = (min(one / end, 1.0) * _ALL for one in (ratio, result.upper))
    state = "bad" if result.tripped else "fine" if result.upper < result.limit else "open"
    return [
        *parts,
        line(f"range flagstaff-{state}", (at, _AXIS), (upper, _AXIS)),
        circle(f"ratio flagstaff-{state}", at, _AXIS, _TEXT_GAP),
    ]


def _evidence_parts(result: GuardResult) -> list[SafeString]:
    """Returns the bar of the evidence. Evidence multiplies, so its scale is logarithmic."""
    width = _ALL if result.tripped else _part_of_trip(result) * _ALL
    # From here on, the number of users no longer lets a step pass.
    css = "open" if result.e_value >= 1 / PLAN_ALPHA else "evidence-bar"
    y = _EVIDENCE + _TEXT_GAP
    return [
        text("label", 0, _EVIDENCE, evidence_sentence(result)),
        rect("track", 0, y, _ALL, _BAR),
        rect("bad" if result.tripped else css, 0, y, width, _BAR),
    ]


def _part_of_trip(result: GuardResult) -> float:
    """Returns how far the evidence is on its way to the threshold, from 0 to 1."""
    e_value = max(result.e_value, 1.0)
    return 1.0 if math.isinf(e_value) else min(math.log(e_value) / math.log(result.threshold), 1.0)


def _share(failed: float, users: float) -> float:
    return min(failed / users, 1.0) if users > 0 else 0.0
