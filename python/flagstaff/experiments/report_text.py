"""The report of an experiment as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from flagstaff.experiments.counts import Counts
from flagstaff.experiments.report import MetricReport, Report
from flagstaff.experiments.results import Look
from flagstaff.experiments.statistics import Comparison, Verdict
from flagstaff.experiments.words import OUTCOMES, STATEMENTS

__all__ = ["report_lines"]


def report_lines(report: Report) -> Iterator[str]:
    """Yields the verdict, the metrics and the counts."""
    for treatment, verdict in report.verdicts.items():
        yield from _verdict(treatment, verdict)
        yield ""
    if not report.verdicts:
        yield "There is no verdict yet: no unit of the primary metric has a window that is over."
        yield ""
    for one in report.metrics:
        yield from _metric(one)
    yield from _counts(report.counts)


def _verdict(treatment: str, verdict: Verdict) -> Iterator[str]:
    yield f"{treatment}: {OUTCOMES[verdict.outcome]}"
    for statement in verdict.may_conclude:
        yield f"  + {STATEMENTS[statement]}"
    for statement in verdict.may_not_conclude:
        yield f"  - {STATEMENTS[statement]}"
    if verdict.missing_days or verdict.missing_users:
        yield (
            f"  A verdict needs {verdict.missing_days:.1f} more days and "
            f"{verdict.missing_users:,} more users in the smaller variant."
        )
    if verdict.harmed:
        yield f"  Harmed: {', '.join(verdict.harmed)}"


def _metric(one: MetricReport) -> Iterator[str]:
    yield f"{one.name} ({one.role})"
    for result in one.results:
        newest = result.newest
        if newest is None:
            yield f"  {result.treatment}: no unit has a window that is over"
            continue
        yield f"  {result.treatment}: {_look(newest)}, p = {result.p_value:.4f}"


def _look(look: Look) -> str:
    arms = f"{look.control.value:.4g} -> {look.treatment.value:.4g}"
    relative = "" if look.lift is None else f", lift {_interval(look.lift, scale=100)} %"
    return f"{arms}, difference {_interval(look.difference)}{relative}, {look.users:,} users"


def _interval(found: Comparison, scale: float = 1) -> str:
    if not math.isfinite(found.low):
        return f"{scale * found.value:+.4g} (too few users for an interval)"
    return f"{scale * found.value:+.4g} ({scale * found.low:+.4g} to {scale * found.high:+.4g})"


def _counts(counts: Counts) -> Iterator[str]:
    units = ", ".join(f"{variant} {number:,}" for variant, number in counts.units.items())
    yield f"units: {units}"
    yield f"mismatch: p = {counts.mismatch_p_value:.4f} at every look"
    if counts.moved:
        yield f"left out, because they met two variants: {counts.moved:,}"
    if counts.lost:
        yield f"exposures that workers had to leave out: {counts.lost:,}"
    if counts.lost_workers:
        yield (
            f"workers that ended without their last report: {counts.lost_workers}; up to one "
            "interval of each is missing"
        )
