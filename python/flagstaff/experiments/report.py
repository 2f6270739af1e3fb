"""The report of an experiment: the same figures for the page, the command and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flagstaff.experiments.counts import Counts, count
from flagstaff.experiments.lifecycle import find
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Metric, find_metric
from flagstaff.experiments.models import Experiment, Method
from flagstaff.experiments.results import Analysis, Result, results_of
from flagstaff.experiments.statistics import (
    Corrected,
    Evidence,
    Gates,
    Guardrail,
    Plan,
    Primary,
    Verdict,
    holm,
    judge,
)

__all__ = ["MetricReport", "Report", "make_report"]

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class MetricReport:
    """A metric with its results, one for each treatment."""

    name: str
    #: "primary", "other" or "guardrail".
    role: str
    metric: Metric
    results: Sequence[Result]


@dataclass(frozen=True)
class Report:
    """What an experiment has shown until the last full hour."""

    experiment: Experiment
    counts: Counts
    metrics: Sequence[MetricReport]
    #: The verdict on each treatment; none without a primary metric.
    verdicts: dict[str, Verdict]


def make_report(key: str, now: datetime) -> Report:
    """Returns the report of an experiment. Makes a query for each metric, and a few others.

    Raises UnknownExperimentError, or ConfigurationError for a metric that cannot be used.
    """
    experiment = find(key)
    counts = count(experiment)
    variants = [variant["key"] for variant in experiment.variants]
    is_sequential = experiment.method == Method.SEQUENTIAL
    plan = Plan(experiment.planned_users) if is_sequential else None
    analysis = Analysis(variants, plan)
    metrics = [
        MetricReport(
            name,
            role,
            metric := find_metric(name),
            results_of(name, metric, measure(experiment, metric), analysis),
        )
        for name, role in _roles(experiment)
    ]
    return Report(experiment, counts, metrics, _verdicts(experiment, counts, metrics, now))


def _roles(experiment: Experiment) -> list[tuple[str, str]]:
    primary = [(experiment.primary_metric, "primary")] if experiment.primary_metric else []
    others = [(name, "other") for name in experiment.other_metrics]
    return [*primary, *others, *((name, "guardrail") for name in experiment.guardrails)]


def _verdicts(
    experiment: Experiment, counts: Counts, metrics: Sequence[MetricReport], now: datetime
) -> dict[str, Verdict]:
    corrected = _corrected(metrics)
    found = {}
    for one in metrics:
        for result in one.results if one.role == "primary" else ():
            if result.newest is None:
                continue
            evidence = Evidence(
                primary=Primary(
                    one.name,
                    result.newest.difference,
                    higher_is_better=one.metric.higher_is_better,
                    corrected=corrected[one.name, result.treatment],
                ),
                gates=_gates(experiment, counts, result.treatment, now),
                mismatch_p_value=counts.mismatch_p_value,
                guardrails=_guardrails(experiment, metrics, result.treatment),
                is_always_valid=experiment.method == Method.SEQUENTIAL,
                is_complete=result.newest.users >= experiment.planned_users,
                smallest_effect=experiment.smallest_effect,
            )
            found[result.treatment] = judge(evidence)
    return found


def _corrected(metrics: Sequence[MetricReport]) -> dict[tuple[str, str], Corrected]:
    """Returns the corrected p values of all but guardrails, which are not in the correction."""
    tested = [
        (one.name, result.treatment, result.p_value)
        for one in metrics
        if one.role != "guardrail"
        for result in one.results
    ]
    corrected = holm([p_value for _, _, p_value in tested])
    return {(name, arm): one for (name, arm, _), one in zip(tested, corrected, strict=True)}


def _gates(experiment: Experiment, counts: Counts, treatment: str, now: datetime) -> Gates:
    control = experiment.variants[0]["key"]
    started = experiment.started_at or now
    return Gates(
        days=max(now - started, timedelta(0)) / _DAY,
        least_days=experiment.min_days,
        users=min(counts.units.get(control, 0), counts.units.get(treatment, 0)),
        least_users=experiment.min_users,
    )


def _guardrails(
    experiment: Experiment, metrics: Sequence[MetricReport], treatment: str
) -> list[Guardrail]:
    return [
        Guardrail(one.name, result.newest.harm_bound, experiment.guardrails[one.name])
        for one in metrics
        if one.role == "guardrail"
        for result in one.results
        if result.treatment == treatment and result.newest is not None
    ]
