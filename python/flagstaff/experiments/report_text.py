"""The report of an experiment as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._engine.forced_off import NOTICE
from flagstaff.experiments.report_data import (
    EffectReport,
    MetricReport,
    NewestLook,
    Report,
    TreatmentReport,
    VerdictReport,
    has_interval,
)
from flagstaff.experiments.reporting import metric_error
from flagstaff.experiments.words import (
    interval_needs,
    missing_text,
    outcome_text,
    statement_texts,
    wider_intervals_text,
)

_SMALLEST_P = 0.0001


def report_lines(report: Report) -> Iterator[str]:
    """Yields the verdict, the metrics and the counts."""
    if report["forced_off"]:
        yield f"{report['key']} is {NOTICE}: every call returns its default."
        yield ""
    if not report["verdicts"]:
        yield f"There is no verdict: {metric_error(report)}"
        yield ""
    for verdict in report["verdicts"]:
        yield from _verdict(verdict)
        yield ""
    if not report["metrics"]:
        yield f"There is no metric. Set one: manage.py flags experiment edit {report['key']}"
    for metric in () if report["has_mismatch"] else report["metrics"]:
        yield from _metric(metric)
    if note := wider_intervals_text(report):
        yield note
    yield from _counts(report)
    if report["frozen_at"]:
        yield f"This report was frozen at {report['frozen_at']}."


def _verdict(verdict: VerdictReport) -> Iterator[str]:
    yield f"{verdict['treatment']}: {outcome_text(verdict['outcome'])}"
    for text in statement_texts(verdict["may_conclude"]):
        yield f"  + {text}"
    for text in statement_texts(verdict["may_not_conclude"]):
        yield f"  - {text}"
    if missing := missing_text(verdict):
        yield f"  {missing}"
    if verdict["harmed"]:
        yield f"  Harmed: {', '.join(verdict['harmed'])}"


def _metric(metric: MetricReport) -> Iterator[str]:
    name = f"{metric['metric']} ({metric['role']})"
    if metric["error"]:
        yield f"{name} fails: {metric['error']}"
        return
    day = metric["added_on_day"]
    added = "" if day is None else f", added on day {day}: only units exposed after that count"
    yield f"{name}, {metric['units']:,} units with a full window{added}"
    for result in metric["treatments"]:
        newest = result["newest"]
        text = "no result yet" if newest is None else f"{_look(newest)}, {_significance(result)}"
        yield f"  {result['treatment']}: {text}"


def _look(look: NewestLook) -> str:
    arms = f"{look['control']:.4g} -> {look['treatment']:.4g}"
    lift = look["relative_difference"]
    relative = "" if lift is None else f", lift {_interval(lift, scale=100)} %"
    text = f"{arms}, difference {_interval(look['difference'])}{relative}"
    if not has_interval(look["difference"]):
        return f"{text} ({interval_needs(look['missing_for_interval'])})"
    return text


def _significance(result: TreatmentReport) -> str:
    if result["corrected_p_value"] is None:
        return "harmed" if result["is_harmed"] else "no harm is certain"
    return _p(result["corrected_p_value"], ".4f")


def _p(p_value: float, form: str) -> str:
    return f"p = {p_value:{form}}" if p_value >= _SMALLEST_P else f"p < {_SMALLEST_P}"


def _interval(found: EffectReport, scale: float = 1) -> str:
    value = f"{scale * found['value']:+.4g}"
    if found["low"] is None or found["high"] is None:
        return value
    return f"{value} ({scale * found['low']:+.4g} to {scale * found['high']:+.4g})"


def _counts(report: Report) -> Iterator[str]:
    counts = report["exposures"]
    total = sum(counts["units"].values())
    for arm in report["settings"]["variants"]:
        number = counts["units"][arm["key"]]
        seen = f", seen {number / total:.1%}" if total else ""
        yield f"{arm['key']}: {number:,} units, planned {arm['share']:.1%}{seen}"
    if present := sum(counts["present_hour"].values()):
        yield f"in the present hour, not analysed yet: {present:,} units"
    p_value = _p(counts["mismatch_p_value"], ".4g")
    yield f"sample-ratio mismatch: {p_value}, valid at every look"
    if met_two := counts["met_two_variants"]:
        yield f"left out, because they met two variants: {met_two:,} units"
    if lost := counts["lost"]:
        yield f"lost, because too many waited in a worker: {lost:,} exposures"
    if left_out := counts["left_out"]:
        yield f"left out, because a worker reached NEW_VISITORS_PER_HOUR: {left_out:,} visitors"
    for variant, returned in (counts["returned"] or {}).items():
        if units := counts["units"][variant]:
            share = 1 - returned / units
            yield f"{variant}: {share:.1%} of its visitors have not come back; they are included"
    if workers := counts["workers_without_last_report"]:
        yield (
            f"workers that ended without their last report: {workers}; exposures of up to one "
            "MEASURE_INTERVAL of each are missing"
        )
