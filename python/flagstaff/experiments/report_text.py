"""The report of an experiment as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._engine.forced_off import NOTICE
from flagstaff.experiments.report_data import (
    EffectReport,
    ExposureReport,
    MetricReport,
    NewestLook,
    Report,
    TreatmentReport,
    VerdictReport,
)
from flagstaff.experiments.report_json import time_as_json
from flagstaff.experiments.words import (
    OUTCOMES,
    STATEMENTS,
    interval_needs,
    missing_text,
    wider_intervals_text,
)

_SMALLEST_P = 0.0001


def report_lines(report: Report) -> Iterator[str]:
    """Yields the verdict, the metrics and the counts."""
    if report.forced_off:
        yield f"{report.key} is {NOTICE}: every call returns its default."
        yield ""
    if not report.verdicts:
        yield f"There is no verdict: {report.metric_error()}"
        yield ""
    for verdict in report.verdicts:
        yield from _verdict(verdict, report)
        yield ""
    if not report.metrics:
        yield f"There is no metric. Set one: manage.py flags experiment metrics {report.key}"
    for metric in () if report.has_mismatch else report.metrics:
        yield from _metric(metric, report)
    if note := wider_intervals_text(report):
        yield note
    yield from _counts(report.exposures)
    if report.frozen_at:
        yield f"This report was frozen at {time_as_json(report.frozen_at)}."


def _verdict(verdict: VerdictReport, report: Report) -> Iterator[str]:
    yield f"{verdict.treatment}: {OUTCOMES[verdict.outcome]}"
    for statement in verdict.may_conclude:
        yield f"  + {STATEMENTS[statement]}"
    for statement in verdict.may_not_conclude:
        yield f"  - {STATEMENTS[statement]}"
    if missing := missing_text(verdict, report.settings.method):
        yield f"  {missing}"
    if verdict.harmed:
        yield f"  Harmed: {', '.join(verdict.harmed)}"


def _metric(metric: MetricReport, report: Report) -> Iterator[str]:
    if metric.error:
        yield f"{metric.metric} ({metric.role.value}) fails: {metric.error}"
        return
    yield f"{metric.metric} ({metric.role.value}), {metric.units:,} units with a full window"
    for result in metric.treatments:
        if result.newest is None:
            yield f"  {result.treatment}: no result yet"
            continue
        look = _look(result.newest, report.settings.method)
        yield f"  {result.treatment}: {look}, {_significance(result)}"


def _look(look: NewestLook, method: str) -> str:
    arms = f"{look.control:.4g} -> {look.treatment:.4g}"
    lift = look.relative_difference
    relative = "" if lift is None else f", lift {_interval(lift, scale=100)} %"
    text = f"{arms}, difference {_interval(look.difference)}{relative}"
    if not look.difference.has_interval:
        return f"{text} ({interval_needs(look.missing_for_interval, method)})"
    return text


def _significance(result: TreatmentReport) -> str:
    if result.corrected_p_value is None:
        return "harmed" if result.is_harmed else "no harm is certain"
    return _p(result.corrected_p_value, ".4f")


def _p(p_value: float, form: str) -> str:
    return f"p = {p_value:{form}}" if p_value >= _SMALLEST_P else f"p < {_SMALLEST_P}"


def _interval(found: EffectReport, scale: float = 1) -> str:
    value = f"{scale * found.value:+.4g}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ({scale * found.low:+.4g} to {scale * found.high:+.4g})"


def _counts(counts: ExposureReport) -> Iterator[str]:
    for variant, number in counts.units.items():
        planned, seen = counts.planned_shares[variant], counts.seen_shares[variant]
        text = "" if seen is None else f", seen {seen:.1%}"
        yield f"{variant}: {number:,} units, planned {planned:.1%}{text}"
    if present := sum(counts.present_hour.values()):
        yield f"in the present hour, not analysed yet: {present:,} units"
    yield f"sample-ratio mismatch: {_p(counts.mismatch_p_value, '.4g')}, valid at every look"
    if counts.met_two_variants:
        yield f"left out, because they met two variants: {counts.met_two_variants:,} units"
    if counts.moved:
        yield f"left out, because a change of weights moved them: {counts.moved:,} units"
    if counts.lost:
        yield f"lost, because too many waited in a worker: {counts.lost:,} exposures"
    if left_out := counts.left_out:
        yield f"left out, because a worker reached NEW_VISITORS_PER_HOUR: {left_out:,} visitors"
    for variant, returned in (counts.returned or {}).items():
        if units := counts.units[variant]:
            share = 1 - returned / units
            yield f"{variant}: {share:.1%} of its visitors have not come back; they are included"
    if workers := counts.workers_without_last_report:
        yield (
            f"workers that ended without their last report: {workers}; exposures of up to one "
            "MEASURE_INTERVAL of each are missing"
        )
