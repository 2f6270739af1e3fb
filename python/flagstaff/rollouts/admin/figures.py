"""What the workers have counted for a plan, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._core import LATENCY_BUCKETS
from flagstaff._text.local_formats import local_number
from flagstaff.conf import conf
from flagstaff.rollouts.admin.guard_svg import guard_chart
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
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.guards import guards_from_json, numbered
from flagstaff.rollouts.models import Plan, SignalCount, StepRun
from flagstaff.rollouts.results import Evidence, GuardResult, Verdict
from flagstaff.rollouts.transitions import steps_of
from flagstaff.rollouts.verdict import judge

__all__ = ["Figures", "GuardFigures", "figures_of_plan", "problems"]

_PERCENTILE = 0.95
_MILLISECONDS = 1000


@dataclass(frozen=True)
class GuardFigures:
    """A guard with its chart, and the rows of the table below it."""

    label: str
    chart: SafeString
    #: What is compared, inside, outside.
    rows: list[tuple[str, str, str]]
    #: The ratio and its limits, one number each.
    ratios: list[tuple[str, str]]


@dataclass(frozen=True)
class Figures:
    """The figures of the newest stretch of measuring."""

    run: StepRun
    evidence: Evidence
    #: None before the start.
    verdict: Verdict | None
    guards: list[GuardFigures]
    #: About the traffic: what is measured, inside, outside.
    rows: list[tuple[str, str, str]]
    #: How long it was measured, in seconds.
    seconds: float


def figures_of_plan(plan: Plan, now: datetime) -> Figures | None:
    """Returns the figures of a plan; None if nothing was measured. Makes six queries."""
    run = StepRun.objects.using(conf.database).filter(plan=plan).order_by("-id").first()
    if run is None:
        return None
    end = run.ended_at or now
    evidence = read_evidence(run, end)
    verdict, guards = None, []
    if run.step is not None:
        own = guards_from_json(plan.guards)
        verdict = judge(steps_of(plan), run.step, own, evidence, plan.required_users)
        labels = {number: capitalized(guard_label(guard)) for number, guard in numbered(own)}
        guards = [_guard_figures(labels[one.number], one, evidence) for one in verdict.guards]
    seconds = max((end - run.started_at).total_seconds(), 1.0)
    return Figures(run, evidence, verdict, guards, _traffic_rows(run, evidence), seconds)


def _guard_figures(label: str, result: GuardResult, evidence: Evidence) -> GuardFigures:
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
        (_("Evidence of harm (e-value)"), evidence_text(result.e_value)),
        (_("Trips at an e-value of"), ratio_text(result.threshold)),
    ]
    if left_out := result.failed.left_out:
        ratios.append((_("Failing users left out, by network"), local_number(left_out)))
    if result.failed.visitors:
        text = _("Failing visitors inside with a cookie younger than the step")
        ratios.append((text, local_number(result.failed.new_visitors)))
    if result.smallest_harm is not None:
        text = _("Would have tripped at a ratio of")
        ratios.append((text, ratio_text(result.smallest_harm)))
    return GuardFigures(label, guard_chart(label, result, evidence), rows, ratios)


def _traffic_rows(run: StepRun, evidence: Evidence) -> list[tuple[str, str, str]]:
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


def problems(evidence: Evidence) -> list[str]:
    """Returns what is missing in the evidence, as sentences."""
    found = []
    if lost := evidence.lost_workers:
        text = ngettext(
            "%(count)s worker stopped without its last report. After ten minutes the step begins "
            "anew.",
            "%(count)s workers stopped without their last reports. After ten minutes the step "
            "begins anew.",
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
            "Workers had no memory left for %(count)s failure. The step begins anew at the end of "
            "its time.",
            "Workers had no memory left for %(count)s failures. The step begins anew at the end of "
            "its time.",
            dropped,
        )
        found.append(text % {"count": local_number(dropped)})
    return found
