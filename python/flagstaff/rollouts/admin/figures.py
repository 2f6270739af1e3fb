"""What the workers have counted for a plan, as the page shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._core import LATENCY_BUCKETS
from flagstaff._words.text import local_number
from flagstaff.admin.svg import chart, circle, line, rect, text
from flagstaff.conf import conf
from flagstaff.rollouts.admin.texts import (
    NONE,
    capitalized,
    evidence_text,
    guard_label,
    limit_text,
    ratio_text,
    share_text,
    users_text,
)
from flagstaff.rollouts.alpha import PLAN_ALPHA
from flagstaff.rollouts.evidence import alpha_of, read_evidence
from flagstaff.rollouts.guards import guards_from_json, numbered
from flagstaff.rollouts.models import Plan, PlanEvent, SignalCount, StepRun
from flagstaff.rollouts.results import GuardResult, StepEvidence, StepVerdict
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.verdict import judge

_PERCENTILE = 0.95
_MILLISECONDS = 1000


@dataclass(frozen=True)
class GuardFigures:
    """A guard with its chart, and the rows of the table below it."""

    number: int
    label: str
    #: The share of failing users with the flag and without it, and what follows from it.
    inside: str
    outside: str
    result: str
    css: str
    chart: SafeString
    #: What is compared, inside, outside.
    rows: list[tuple[str, str, str]]
    #: The ratio and its limits, one number each.
    ratios: list[tuple[str, str]]


@dataclass(frozen=True)
class Figures:
    """The figures of the newest stretch of measuring."""

    run: StepRun
    evidence: StepEvidence
    #: None before the start, and if the guards were edited since then.
    verdict: StepVerdict | None
    guards: list[GuardFigures]
    #: About the traffic: what is measured, inside, outside.
    rows: list[tuple[str, str, str]]
    #: How long it was measured, in seconds.
    seconds: float


def figures_of_plan(plan: Plan, now: datetime) -> Figures | None:
    """Returns the figures of a plan; None if nothing was measured. Makes up to seven queries."""
    run = StepRun.objects.using(conf.database).filter(plan=plan).order_by("-id").first()
    if run is None:
        return None
    end = run.ended_at or now
    evidence = read_evidence(run, end)
    verdict, guards = None, []
    if run.step is not None and not _has_other_guards(plan, run):
        own = guards_from_json(plan.guards)
        steps, users = steps_of(plan), plan.required_users
        verdict = judge(steps, run.step, own, evidence, users, alpha_of(run))
        labels = {number: capitalized(guard_label(guard)) for number, guard in numbered(own)}
        guards = [_guard_figures(labels[one.number], one, evidence) for one in verdict.guards]
    seconds = max((end - run.started_at).total_seconds(), 1.0)
    return Figures(run, evidence, verdict, guards, _traffic_rows(run, evidence), seconds)


def _has_other_guards(plan: Plan, run: StepRun) -> bool:
    """Whether the guards were edited after a run has ended: it has counted failures of others."""
    if run.ended_at is None:
        return False
    edits = PlanEvent.objects.using(conf.database).filter(
        plan=plan, kind=PlanEvent.Kind.EDITED, at__gte=run.ended_at, figures__changes_guards=True
    )
    return edits.exists()


def _guard_figures(label: str, result: GuardResult, evidence: StepEvidence) -> GuardFigures:
    inside, outside = result.failed.inside, result.failed.outside
    rows = [
        (_("Users"), users_text(evidence.users_inside), users_text(evidence.users_outside)),
        (_("Failing users"), local_number(inside), local_number(outside)),
        (
            _("Share"),
            share_text(inside, evidence.users_inside),
            share_text(outside, evidence.users_outside),
        ),
    ]
    ratios = [
        (_("Ratio"), NONE if result.ratio is None else ratio_text(result.ratio)),
        (_("Upper bound of the ratio (95 %)"), ratio_text(result.upper)),
        (_("Limit"), limit_text(result.limit)),
        (_("Evidence of harm"), evidence_text(result.e_value)),
        (_("The guard trips at"), ratio_text(result.threshold)),
    ]
    if left_out := result.failed.left_out:
        ratios.append((_("Failing users left out, by network"), local_number(left_out)))
    if result.failed.visitors:
        text = _("Failing visitors with the flag whose cookie is younger than the step")
        ratios.append((text, local_number(result.failed.new_visitors)))
    if result.smallest_harm is not None:
        text = _("Would have tripped at a ratio of")
        ratios.append((text, ratio_text(result.smallest_harm)))
    return GuardFigures(
        number=result.number,
        label=label,
        inside=side_text(inside, evidence.users_inside),
        outside=side_text(outside, evidence.users_outside),
        result=_result_text(result),
        css="bad" if result.tripped else "fine" if result.passed else "open",
        chart=guard_chart(label, result, evidence),
        rows=rows,
        ratios=ratios,
    )


def side_text(failed: float, users: float) -> str:
    """Returns the share of failing users, and the two numbers; a dash without users."""
    if not users:
        return NONE
    values = {"failed": users_text(failed), "users": users_text(users)}
    return _("%(share)s · %(failed)s of %(users)s users") % {
        "share": share_text(failed, users),
        **values,
    }


def _result_text(result: GuardResult) -> str:
    if result.tripped:
        return _("harm found")
    if result.passed:
        return _("passes")
    return _("no failures yet") if result.ratio is None else _("not certain yet")


def _traffic_rows(run: StepRun, evidence: StepEvidence) -> list[tuple[str, str, str]]:
    outside, inside = evidence.requests
    latency = _latency(run)
    return [
        (_("Users"), users_text(evidence.users_inside), users_text(evidence.users_outside)),
        (_("Requests and tasks"), local_number(inside), local_number(outside)),
        (_("95 % are faster than"), latency[True], latency[False]),
    ]


def _latency(run: StepRun) -> dict[bool, str]:
    """Returns the 95th percentiles of the time of requests, by inside. Makes a query."""
    buckets: dict[bool, dict[int, int]] = {False: {}, True: {}}
    counts = SignalCount.objects.using(conf.database).filter(run=run, kind=SignalCount.Kind.LATENCY)
    for inside, number, count in counts.values_list("inside", "number", "count"):
        buckets[inside][number] = count
    return {inside: _percentile_text(of_side) for inside, of_side in buckets.items()}


def _percentile_text(buckets: Mapping[int, int]) -> str:
    """Returns the upper edge of the bucket that the 95th percentile is in."""
    left = _PERCENTILE * sum(buckets.values())
    if not left:
        return NONE
    for number in sorted(buckets):
        left -= buckets[number]
        if left <= 0 and number < LATENCY_BUCKETS - 1:
            return _time_text(2 ** ((number + 1) / 2))
    return _("over %(time)s") % {"time": _time_text(2 ** ((LATENCY_BUCKETS - 1) / 2))}


def _time_text(milliseconds: float) -> str:
    if milliseconds < _MILLISECONDS:
        return _("%(time)s ms") % {"time": local_number(round(milliseconds))}
    return _("%(time)s s") % {"time": ratio_text(milliseconds / _MILLISECONDS)}


def problems(evidence: StepEvidence) -> list[str]:
    """Returns what is missing in the evidence, as sentences."""
    found = []
    if lost := evidence.lost_workers:
        text = ngettext(
            "%(count)s worker stopped without its last report. After ten minutes the step starts "
            "again.",
            "%(count)s workers stopped without their last reports. After ten minutes the step "
            "starts again.",
            lost,
        )
        found.append(text % {"count": local_number(lost)})
    if left_out := round(evidence.left_out):
        text = ngettext(
            "%(count)s user was left out, because others of the same network came first.",
            "%(count)s users were left out, because others of their networks came first.",
            left_out,
        )
        found.append(text % {"count": local_number(left_out)})
    if dropped := evidence.dropped:
        text = ngettext(
            "Workers had no memory left for %(count)s failure. The step starts again when its "
            "dwell time has ended.",
            "Workers had no memory left for %(count)s failures. The step starts again when its "
            "dwell time has ended.",
            dropped,
        )
        found.append(text % {"count": local_number(dropped)})
    return found


# The chart of a guard: failing users inside and outside, and their ratio against the limit.

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


def guard_chart(label: str, result: GuardResult, evidence: StepEvidence) -> SafeString:
    """Returns the chart of a guard. Makes no query."""
    sides = (
        (_("with the flag"), "inside", result.failed.inside, evidence.users_inside),
        (_("without the flag"), "outside", result.failed.outside, evidence.users_outside),
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
    sentences += [_ratio_sentence(result), _evidence_sentence(result)]
    parts.append(text("label", 0, _FIRST + 2 * _ROW, _ratio_sentence(result)))
    parts += [*_ratio_parts(result), *_evidence_parts(result)]
    title = _("Failing users: %(guard)s") % {"guard": label}
    return chart(f"flagstaff-guard-{result.number}", _HEIGHT, title, "; ".join(sentences), parts)


def _ratio_sentence(result: GuardResult) -> str:
    """Returns the ratio, its upper bound and the limit in words."""
    if result.ratio is None:
        return _("ratio: no failures to compare")
    values = {"ratio": ratio_text(result.ratio), "upper": ratio_text(result.upper)}
    if math.isinf(result.upper):
        return _("ratio: %(ratio)s, no upper bound yet") % values
    return _("ratio: %(ratio)s, at most %(upper)s") % values


def _evidence_sentence(result: GuardResult) -> str:
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
        text("label", 0, _EVIDENCE, _evidence_sentence(result)),
        rect("track", 0, y, _ALL, _BAR),
        rect("bad" if result.tripped else css, 0, y, width, _BAR),
    ]


def _part_of_trip(result: GuardResult) -> float:
    """Returns how far the evidence is on its way to the threshold, from 0 to 1."""
    e_value = max(result.e_value, 1.0)
    return 1.0 if math.isinf(e_value) else min(math.log(e_value) / math.log(result.threshold), 1.0)


def _share(failed: float, users: float) -> float:
    return min(failed / users, 1.0) if users > 0 else 0.0
