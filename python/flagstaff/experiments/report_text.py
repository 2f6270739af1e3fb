"""The report of an experiment as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff.experiments.figures import NONE, p_sentence
from flagstaff.experiments.report_data import MetricReport, Report, VerdictReport
from flagstaff.experiments.report_rows import (
    MetricRow,
    facts,
    notes,
    role_texts,
    shares_text,
    unit_rows,
    verdict_notes,
)
from flagstaff.experiments.reporting import metric_error
from flagstaff.experiments.words import outcome_text, statement_texts, wider_intervals_text


def report_lines(report: Report) -> Iterator[str]:
    """Yields the verdict, the metrics and the counts."""
    for note in notes(report):
        yield note
        yield ""
    for verdict in report["verdicts"]:
        yield from _verdict(verdict)
        yield ""
    if not report["verdicts"]:
        yield f"There is no verdict: {metric_error(report)}"
        yield ""
    if not report["metrics"]:
        yield f"There is no metric. Set one: manage.py flags experiment edit {report['key']}"
    for metric in () if report["has_mismatch"] else report["metrics"]:
        yield from _metric(metric)
    if note := wider_intervals_text(report):
        yield note
    for row in unit_rows(report):
        key, *cells = row.items()
        yield f"{key[1]}: {', '.join(f'{name.lower()} {cell}' for name, cell in cells)}"
    yield shares_text(report)


def _verdict(verdict: VerdictReport) -> Iterator[str]:
    yield f"{verdict['treatment']}: {outcome_text(verdict['outcome'])}"
    yield from (f"  + {text}" for text in statement_texts(verdict["may_conclude"]))
    yield from (f"  - {text}" for text in statement_texts(verdict["may_not_conclude"]))
    yield from (f"  {text}" for text in verdict_notes(verdict))


def _metric(metric: MetricReport) -> Iterator[str]:
    if metric["error"]:
        yield f"{metric['metric']} · {' · '.join(role_texts(metric))} fails: {metric['error']}"
        return
    yield " · ".join([metric["metric"], *role_texts(metric), *facts(metric)])
    for result in metric["treatments"]:
        row = MetricRow(metric, result)
        _colour, *words = row.verdict
        found = ", ".join(filter(None, words))
        if row.newest is not None:
            p_value = result["corrected_p_value"]
            p_text = NONE if p_value is None else p_sentence(p_value)
            found = f"{row.control} → {row.treatment}, {row.effect}, {p_text}: {found}"
        yield f"  {result['treatment']}: {found}"
