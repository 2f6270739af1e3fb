"""What the workers have counted for a plan, as the page shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.text import local_number
from flagstaff.conf import conf
from flagstaff.rollouts.admin.texts import (
    NONE,
    limit_text,
    ratio_text,
    share_text,
    users_text,
)
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, StepRun
from flagstaff.rollouts.results import GuardCounts, GuardResult, StepEvidence, StepVerdict
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.verdict import judge


@dataclass(frozen=True)
class GuardFigures:
    """A line of the table of guards."""

    #: The share of failing users with the flag and without it.
    inside: str
    outside: str
    #: How many times as often users with the flag fail, its upper bound (95 %) and the limit.
    ratio: str
    #: Who of the failing users is a new visitor; empty if nobody is one.
    note: str
    #: What follows from it.
    result: str
    css: str


@dataclass(frozen=True)
class Figures:
    """The figures of the newest stretch of measuring."""

    run: StepRun
    evidence: StepEvidence
    #: None before the start.
    verdict: StepVerdict | None
    #: By the number of the guard.
    guards: Mapping[int, GuardFigures]
    #: About the traffic: what is measured, inside, outside.
    rows: list[tuple[str, str, str]]
    #: How long it was measured, in seconds.
    seconds: float


def figures_of_plan(plan: Plan, now: datetime) -> Figures | None:
    """Returns the figures of a plan; None if nothing was measured. Makes up to six queries."""
    run = StepRun.objects.using(conf.database).filter(plan=plan).order_by("-id").first()
    if run is None:
        return None
    end = run.ended_at or now
    evidence = read_evidence(run, end)
    verdict, guards = None, {}
    if run.step is not None:
        own, steps, users = guards_from_json(plan.guards), steps_of(plan), plan.required_users
        verdict = judge(steps, run.step, own, evidence, users, run.number)
        guards = {one.number: _guard_figures(one, evidence) for one in verdict.guards}
    seconds = max((end - run.started_at).total_seconds(), 1.0)
    return Figures(run, evidence, verdict, guards, _traffic_rows(evidence), seconds)


def _guard_figures(result: GuardResult, evidence: StepEvidence) -> GuardFigures:
    return GuardFigures(
        inside=side_text(result.failed.inside, evidence.users_inside),
        outside=side_text(result.failed.outside, evidence.users_outside),
        ratio=_ratio_text(result),
        note=_visitors_text(result.failed),
        result=_result_text(result),
        css="bad" if result.tripped else "fine" if result.passed else "open",
    )


def _ratio_text(result: GuardResult) -> str:
    """Returns how many times as often users with the flag fail, its upper bound and the limit."""
    if result.ratio is None:
        return NONE
    values = {
        "ratio": ratio_text(result.ratio),
        "upper": ratio_text(result.upper),
        "limit": limit_text(result.limit),
    }
    if math.isinf(result.upper):
        return _("%(ratio)s, no upper bound yet; limit %(limit)s") % values
    return _("%(ratio)s, at most %(upper)s; limit %(limit)s") % values


def _visitors_text(failed: GuardCounts) -> str:
    if not failed.new_visitors:
        return ""
    text = _("%(new)s of %(visitors)s visitors who failed with the flag have a new cookie")
    values = {"new": failed.new_visitors, "visitors": failed.visitors}
    return text % {name: local_number(number) for name, number in values.items()}


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


def _traffic_rows(evidence: StepEvidence) -> list[tuple[str, str, str]]:
    outside, inside = evidence.requests
    return [
        (_("Users"), users_text(evidence.users_inside), users_text(evidence.users_outside)),
        (_("Requests and tasks"), local_number(inside), local_number(outside)),
    ]


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
