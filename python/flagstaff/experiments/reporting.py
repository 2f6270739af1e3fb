"""The report of an experiment: counts, results of the metrics, and a verdict on each treatment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import DataError, ProgrammingError, transaction

from flagstaff._tables.sqlstate import error_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.counts import Counts, count
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Metric, find_metric
from flagstaff.experiments.models import Experiment, Method, Phase
from flagstaff.experiments.reassigned_buckets import BucketRanges, reassigned_buckets
from flagstaff.experiments.results import ALPHA, Analysis, Result, results_of, units_of
from flagstaff.experiments.statistics import (
    MISMATCH_ALPHA,
    Comparison,
    Corrected,
    Evidence,
    Gates,
    Guardrail,
    Primary,
    Verdict,
    holm,
    judge,
)

_DAY = timedelta(days=1)
#: Before there is a result.
_UNKNOWN = Comparison(0.0, 0.0, -math.inf, math.inf, 1.0)


class Role:
    """What a metric is for."""

    PRIMARY = "primary"
    OTHER = "other"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True)
class MetricReport:
    """A metric with its results, one for each treatment."""

    name: str
    role: str
    #: None if it cannot be used.
    metric: Metric | None
    #: Units whose window was over at the last full hour.
    units: int
    results: Sequence[Result]
    #: By treatment; empty for a guardrail, which is not in the correction.
    corrected: dict[str, Corrected]
    #: Why there is no result, if the metric fails.
    error: str = ""

    def alpha(self, treatment: str) -> float:
        """Returns the alpha of the intervals."""
        corrected = self.corrected.get(treatment)
        return corrected.interval_alpha if corrected else ALPHA


@dataclass(frozen=True)
class Report:
    """What an experiment has shown until the last full hour."""

    experiment: Experiment
    phases: Sequence[Phase]
    counts: Counts
    analysis: Analysis
    #: Without results if the shares are wrong: then no figure is valid.
    metrics: Sequence[MetricReport]
    #: The verdict on each treatment; none if the primary metric fails.
    verdicts: dict[str, Verdict]

    @property
    def primary(self) -> MetricReport | None:
        """The metric that decides."""
        return next((metric for metric in self.metrics if metric.role == Role.PRIMARY), None)

    @property
    def has_mismatch(self) -> bool:
        """Whether the shares of the variants are wrong."""
        return self.counts.mismatch_p_value < MISMATCH_ALPHA


def make_report(experiment: Experiment, now: datetime) -> Report:
    """Returns the report of an experiment. Makes a query for each metric, and a few others.

    A metric that fails has an error instead of results. Raises ConfigurationError if the exposures
    cannot be read because of EXCLUDED_UNITS.
    """
    phases, moved = reassigned = reassigned_buckets(experiment)
    counts = count(experiment, reassigned)
    analysis = Analysis(
        [variant["key"] for variant in experiment.variants],
        experiment.planned_units,
        is_sequential=experiment.method == Method.SEQUENTIAL,
    )
    is_valid = counts.mismatch_p_value >= MISMATCH_ALPHA
    metrics = _corrected(
        [
            _metric(experiment, (name, role), analysis, moved if is_valid else None)
            for name, role in _roles(experiment)
        ]
    )
    report = Report(experiment, phases, counts, analysis, metrics, {})
    if report.primary is not None and report.primary.error:
        return report
    days = _days(phases, now)
    return replace(
        report,
        verdicts={
            treatment: judge(_evidence(report, treatment, days))
            for treatment in analysis.variants[1:]
        },
    )


def _roles(experiment: Experiment) -> list[tuple[str, str]]:
    primary = [(experiment.primary_metric, Role.PRIMARY)] if experiment.primary_metric else []
    others = [(name, Role.OTHER) for name in experiment.other_metrics]
    return [*primary, *others, *((name, Role.GUARDRAIL) for name in experiment.guardrails)]


def _metric(
    experiment: Experiment,
    named: tuple[str, str],
    analysis: Analysis,
    moved: BucketRanges | None,
) -> MetricReport:
    """Returns a metric and its results; none without `moved`, because no figure is valid then."""
    name, role = named
    metric = None
    try:
        metric = find_metric(name)
        # A savepoint, so that the other metrics can be measured after an error.
        with transaction.atomic(using=conf.database):
            hours = [] if moved is None else measure(experiment, metric, moved)
    except (ConfigurationError, DataError, ProgrammingError) as error:
        why = error.message if isinstance(error, ConfigurationError) else error_text(error)
        # With p values of 1, so that the others are corrected as if it did not fail.
        results = [Result(treatment) for treatment in analysis.variants[1:]]
        return MetricReport(name, role, metric, 0, results, {}, why)
    results = results_of(metric, hours, analysis)
    return MetricReport(name, role, metric, units_of(hours), results, {})


def _corrected(metrics: Sequence[MetricReport]) -> list[MetricReport]:
    """Returns the metrics with p values by Holm. Guardrails are not in the correction."""
    tested = [
        (metric.name, result.treatment, result.p_value)
        for metric in metrics
        if metric.role != Role.GUARDRAIL
        for result in metric.results
    ]
    by_metric: dict[str, dict[str, Corrected]] = {metric.name: {} for metric in metrics}
    corrected = holm([p_value for _, _, p_value in tested], ALPHA)
    for (name, treatment, _), one in zip(tested, corrected, strict=True):
        by_metric[name][treatment] = one
    return [replace(metric, corrected=by_metric[metric.name]) for metric in metrics]


def _days(phases: Sequence[Phase], now: datetime) -> float:
    """Returns how long the experiment has run since its last shuffle, in days."""
    spans = (max((phase.ended_at or now) - phase.started_at, timedelta(0)) for phase in phases)
    return sum(spans, timedelta(0)) / _DAY


def _evidence(report: Report, treatment: str, days: float) -> Evidence:
    experiment, analysis, counts = report.experiment, report.analysis, report.counts
    primary = report.primary
    arms = (analysis.variants[0], treatment)
    units, least_units = min(counts.units[arm] for arm in arms), experiment.min_units
    is_complete = primary is not None and primary.units >= experiment.planned_units
    if not analysis.is_sequential and not is_complete:
        units, least_units = primary.units if primary else 0, experiment.planned_units
    return Evidence(
        primary=_primary(primary, analysis, treatment),
        gates=Gates(days, experiment.min_days, units, least_units),
        mismatch_p_value=counts.mismatch_p_value,
        guardrails=[
            Guardrail(
                metric.name,
                result.harm_bound,
                experiment.guardrails[metric.name],
                bool(metric.error),
            )
            for metric in report.metrics
            if metric.role == Role.GUARDRAIL
            for result in metric.results
            if result.treatment == treatment
        ],
        is_always_valid=analysis.is_sequential,
        is_complete=is_complete,
        smallest_effect=experiment.smallest_effect,
    )


def _primary(primary: MetricReport | None, analysis: Analysis, treatment: str) -> Primary:
    if primary is None or primary.metric is None:
        return Primary("", _UNKNOWN)
    [result] = [one for one in primary.results if one.treatment == treatment]
    corrected = primary.corrected[treatment]
    # A look that was significant stays so, with its sign; else the newest one says what is known.
    look = result.decisive if corrected.is_rejected else result.newest
    return Primary(
        primary.name,
        analysis.compare_difference(look, corrected.interval_alpha) if look else _UNKNOWN,
        higher_is_better=primary.metric.higher_is_better,
        corrected=corrected,
        alpha=ALPHA,
    )
