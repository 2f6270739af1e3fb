"""The report of an experiment: counts, results of the metrics, and a verdict on each treatment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import cast

from django.db import DatabaseError, DataError, OperationalError, ProgrammingError
from django.utils import timezone as django_timezone

from flagstaff._engine import forced_off
from flagstaff._tables.database import QUERY_CANCELED, db, error_text, sqlstate
from flagstaff._text import as_stored, say
from flagstaff._text.times import TimeValue, aware
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import (
    Look,
    Measurement,
    Result,
    count,
    measure,
    plan_of,
    results_of,
    units_of,
    values_of,
)
from flagstaff.experiments.metrics import Metric, find_metric
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.report_data import (
    GUARDRAIL,
    OTHER,
    PRIMARY,
    VERSION,
    BeforeReport,
    BeforeValue,
    EffectReport,
    ExposureReport,
    MetricReport,
    NewestLook,
    Report,
    SettingsReport,
    TreatmentReport,
    VerdictReport,
)
from flagstaff.experiments.rows import find, moved_at
from flagstaff.experiments.statistics.effects import Comparison
from flagstaff.experiments.statistics.mismatch import MISMATCH_ALPHA
from flagstaff.experiments.statistics.sequential import (
    ALPHA,
    Corrected,
    Plan,
    always_valid,
    holm,
    units_without_effect,
)
from flagstaff.experiments.variants import shares_of
from flagstaff.experiments.verdict import Evidence, Guardrail, Outcome, conclusions, judge

_DAY = timedelta(days=1)
#: Before there is a result.
_UNKNOWN = Comparison(0.0, 0.0, -math.inf, math.inf, 1.0)


def report(key: str) -> Report:
    """Returns the report of an experiment as a dict of JSON values, its times as ISO 8601.

    It has the last full hour as its end, so that all who ask within an hour see the same. That of a
    shipped experiment was frozen. A bound that is not known is None. A metric that fails has an
    error and no results; if it is the primary one or a guardrail, no treatment is better. Makes a
    query for each metric, which may read many rows, and a few others. Raises
    UnknownExperimentError, and ConfigurationError if EXCLUDED_UNITS fail.
    """
    return report_of(find(key))


def report_of(experiment: Experiment) -> Report:
    """Returns the report of a row: the frozen one, or one that is made now. Queries as `report`."""
    if experiment.frozen_report is None:
        return make_report(experiment, django_timezone.now())
    return {
        **cast("Report", experiment.frozen_report),
        "state": experiment.state,
        "winner": experiment.winner or None,
        "forced_off": experiment.key in forced_off.keys,
        "ended_at": time_as_json(experiment.ended_at),
    }


def read_report(experiment: Experiment, *, every_metric: bool = False) -> tuple[Report | None, str]:
    """Returns the report, and the message why it cannot be stored; empty if it can.

    It cannot if the primary metric or a guardrail, or with `every_metric` any metric, fails. The
    report is None if even the exposures cannot be read, so that a page or a question can do without
    one.
    """
    try:
        with db.atomic():
            report = report_of(experiment)
    except ConfigurationError as error:
        return None, error.message
    except DatabaseError as error:
        return None, error_text(error)
    return report, metric_error(report, every_metric=every_metric)


def frozen_report(
    experiment: Experiment, *, every_metric: bool = False
) -> tuple[Report | None, str]:
    """Returns the report with the time at which it was frozen; or None, and why it cannot be."""
    report, why = read_report(experiment, every_metric=every_metric)
    if report is None or why:
        return None, why
    for metric in report["metrics"]:
        metric["error"] = metric["error"] and as_stored(metric["error"])
        metric["warning"] = metric["warning"] and as_stored(metric["warning"])
    return {**report, "frozen_at": time_as_json(django_timezone.now())}, ""


def metric_error(report: Report, *, every_metric: bool = False) -> str:
    """Returns why a metric that the verdict needs fails, as a message; empty if none does.

    These are the primary metric and the guardrails, or every metric.
    """
    for metric in report["metrics"]:
        if metric["error"] and (every_metric or metric["role"] != OTHER):
            return say(
                "the metric {metric} fails: {error}", metric=metric["metric"], error=metric["error"]
            )
    return ""


def time_as_json(at: datetime | None) -> str | None:
    """Returns a time as ISO 8601 in UTC, in milliseconds."""
    if at is None:
        return None
    return aware(at).astimezone(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class _Measured:
    """A metric with its results, one for each treatment."""

    name: str
    role: str
    #: None if it cannot be used.
    metric: Metric | None
    #: Units whose window was over at the last full hour.
    units: int
    results: Sequence[Result]
    #: By treatment; empty for a guardrail, which is not in the correction.
    corrected: Mapping[str, Corrected] = field(default_factory=dict)
    #: Why there is no result, if the metric fails.
    error: str | None = None
    #: Why the results may be wrong.
    warning: str | None = None
    before: BeforeReport | None = None


def make_report(experiment: Experiment, now: datetime) -> Report:
    """Returns the report of an experiment. Makes a query for each metric, and a few others.

    A metric that fails has an error instead of results. Raises ConfigurationError if the exposures
    cannot be read because of EXCLUDED_UNITS, or the settings because of a change with SQL.
    """
    if problem := experiment.problem:
        raise ConfigurationError(problem)
    counts = count(experiment)
    plan = plan_of(experiment)
    has_mismatch, moved = counts["mismatch_p_value"] < MISMATCH_ALPHA, moved_at(experiment)
    metrics = _corrected(
        [
            _measured(experiment, name, role, plan, is_valid=not has_mismatch, moved=moved)
            for name, role in _roles(experiment)
        ]
    )
    primary = next((metric for metric in metrics if metric.role == PRIMARY), None)
    is_unknown = primary is not None and primary.error and not has_mismatch
    treatments = [] if is_unknown else _variants(experiment)[1:]
    evidence = {arm: _evidence(experiment, counts, metrics, arm, now) for arm in treatments}
    return {
        "version": VERSION,
        "key": experiment.key,
        "description": experiment.description,
        "state": experiment.state,
        "winner": experiment.winner or None,
        "forced_off": experiment.key in forced_off.keys,
        "frozen_at": None,
        "started_at": time_as_json(experiment.started_at),
        "ended_at": time_as_json(experiment.ended_at),
        "settings": _settings(experiment),
        "exposures": counts,
        "has_mismatch": has_mismatch,
        "verdicts": [
            _verdict(arm, arm_evidence, _undecided_units(experiment, metrics, arm))
            for arm, arm_evidence in evidence.items()
        ],
        "metrics": [_metric(metric, experiment, plan) for metric in metrics],
    }


def _variants(experiment: Experiment) -> list[str]:
    return [variant["key"] for variant in experiment.variants]


def _roles(experiment: Experiment) -> Iterator[tuple[str, str]]:
    if experiment.primary_metric:
        yield experiment.primary_metric, PRIMARY
    for name in experiment.other_metrics:
        yield name, OTHER
    for name in experiment.guardrails:
        yield name, GUARDRAIL


def _measured(  # noqa: PLR0913 (the metric, and which units count)
    experiment: Experiment,
    name: str,
    role: str,
    plan: Plan,
    *,
    is_valid: bool,
    moved: datetime | None,
) -> _Measured:
    """Returns a metric and its results; none with a mismatch, because no figure is valid then.

    With `moved`, when what the rules need was changed, only the units from then on count.
    """
    metric, before, why, variants = None, None, "", _variants(experiment)
    try:
        metric = find_metric(name)
        # A savepoint, so that the other metrics can be measured after an error.
        with db.atomic():
            added = added_at(experiment, name)
            since = max((time for time in (added, moved) if time is not None), default=None)
            measured = measure(experiment, metric, since) if is_valid else Measurement([])
            if is_valid and moved is not None and since == moved:
                before = _before(experiment, metric, added, moved)
    except ConfigurationError as error:
        why = error.message
    except (DataError, ProgrammingError) as error:
        why = error_text(error)
    except OperationalError as error:
        if sqlstate(error) != QUERY_CANCELED:
            raise
        why = say("a time limit ended its query, so its results are not known")
    else:
        results = results_of(metric, measured.hours, variants, plan)
        units = units_of(measured.hours)
        warning = measured.warning
        if warning is None and moved is not None and since == moved:
            warning = say(
                "a flag or a segment that the rules need was changed at {time}: the units before "
                "are not in these results",
                time=TimeValue(moved),
            )
        return _Measured(name, role, metric, units, results, warning=warning, before=before)
    # With p values of 1, so that the others are corrected as if it did not fail.
    results = [Result(treatment) for treatment in variants[1:]]
    return _Measured(name, role, metric, 0, results, error=why)


def _before(
    experiment: Experiment, metric: Metric, since: datetime | None, moved: datetime
) -> BeforeReport:
    """Returns the figures of the units from before a change of what the rules need.

    No test is made of them: who may choose between two parts finds effects by chance, and the
    verdict must not depend on which of them is longer. A window that was open at the change is in
    neither part, because its value is partly of the time afterwards.
    """
    values = values_of(metric, measure(experiment, metric, since, moved).hours)
    variants: dict[str, BeforeValue] = {}
    for variant in _variants(experiment):
        units, value = values.get(variant, (0, None))
        variants[variant] = {"units": units, "value": value}
    return {"until": cast("str", time_as_json(moved)), "variants": variants}


def added_at(experiment: Experiment, metric: str) -> datetime | None:
    """Returns when a metric was added; None for one that was there at the start of the run."""
    text = experiment.added_metrics.get(metric)
    return None if text is None else datetime.fromisoformat(text)


def _corrected(metrics: Sequence[_Measured]) -> list[_Measured]:
    """Returns the metrics with p values by Holm. Guardrails are not in the correction.

    A metric that was added is in it from then on, so the corrected p values of the others rise.
    """
    tested = [
        (metric.name, result)
        for metric in metrics
        if metric.role != GUARDRAIL
        for result in metric.results
    ]
    by_metric: dict[str, dict[str, Corrected]] = {metric.name: {} for metric in metrics}
    corrected = holm([result.p_value for _, result in tested])
    for (name, result), correction in zip(tested, corrected, strict=True):
        by_metric[name][result.treatment] = correction
    return [replace(metric, corrected=by_metric[metric.name]) for metric in metrics]


def stop_alpha(experiment: Experiment, *, more: int = 0) -> float:
    """Returns the alpha with which one guardrail stops: all of them together have 5 %.

    `more` guardrails are to be added.
    """
    treatments = len(experiment.variants) - 1
    return ALPHA / max((len(experiment.guardrails) + more) * treatments, 1)


def _undecided_units(
    experiment: Experiment, metrics: Sequence[_Measured], treatment: str
) -> int | None:
    """Returns how many more units have most experiments decided that are without an effect."""
    primary = next((metric for metric in metrics if metric.role == PRIMARY), None)
    if primary is None or experiment.smallest_effect is None:
        return None
    [look] = (result.newest for result in primary.results if result.treatment == treatment)
    if look is None:
        return None
    alpha = primary.corrected[treatment].interval_alpha
    plan, effect = plan_of(experiment), look.difference
    units = units_without_effect(effect, experiment.smallest_effect, plan, alpha)
    return None if units is None else max(units - effect.units, 0)


def _evidence(
    experiment: Experiment,
    counts: ExposureReport,
    metrics: Sequence[_Measured],
    treatment: str,
    now: datetime,
) -> Evidence:
    control, plan = experiment.variants[0]["key"], plan_of(experiment)
    units = min(counts["units"][arm] for arm in (control, treatment))
    of_metric = {
        metric.name: next(result for result in metric.results if result.treatment == treatment)
        for metric in metrics
    }
    primary = next((metric for metric in metrics if metric.role == PRIMARY), None)
    corrected = primary.corrected[treatment] if primary else None
    comparison = _UNKNOWN
    if primary and corrected:
        # A look that was significant stays so, with its sign; else the newest one says what is
        # known.
        result = of_metric[primary.name]
        look = result.decisive if corrected.is_rejected else result.newest
        if look is not None:
            comparison = always_valid(look.difference, plan, corrected.interval_alpha)
    return Evidence(
        comparison=comparison,
        is_significant=corrected is not None and corrected.is_rejected,
        mismatch_p_value=counts["mismatch_p_value"],
        higher_is_better=not (primary and primary.metric) or primary.metric.higher_is_better,
        guardrails=[
            Guardrail(
                metric.name,
                of_metric[metric.name].harm_bound(plan),
                of_metric[metric.name].harm_bound(plan, stop_alpha(experiment)),
                experiment.guardrails[metric.name],
                bool(metric.error),
            )
            for metric in metrics
            if metric.role == GUARDRAIL
        ],
        missing_days=max(experiment.min_days - _days(experiment, now), 0.0),
        missing_units=max(experiment.min_units - units, 0),
        smallest_effect=experiment.smallest_effect,
        has_figures=comparison is not _UNKNOWN,
    )


def _days(experiment: Experiment, now: datetime) -> float:
    """Returns how long the run has lasted, without the time for which it was stopped."""
    if experiment.runs_since is None:
        return 0.0
    return max(((experiment.ended_at or now) - experiment.runs_since) / _DAY, 0.0)


# The figures of the report.


def _settings(experiment: Experiment) -> SettingsReport:
    shares = shares_of(experiment.variants)
    return {
        "variants": [
            {"key": variant["key"], "weight": variant["weight"], "share": shares[variant["key"]]}
            for variant in experiment.variants
        ],
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "rules": experiment.rules,
        "run": experiment.run,
        "planned_units": experiment.planned_units,
        "min_days": experiment.min_days,
        "min_units": experiment.min_units,
        "smallest_effect": experiment.smallest_effect,
        "alpha": ALPHA,
    }


def _verdict(treatment: str, evidence: Evidence, undecided_units: int | None) -> VerdictReport:
    outcome = judge(evidence)
    may, may_not = conclusions(evidence, outcome)
    is_early = outcome is Outcome.TOO_EARLY
    return {
        "treatment": treatment,
        "outcome": outcome.value,
        "may_conclude": may,
        "may_not_conclude": may_not,
        "harmed": evidence.harmed if outcome is Outcome.HARM else [],
        "failed": evidence.failed if outcome is Outcome.GUARDRAIL_FAILED else [],
        "missing_days": evidence.missing_days if is_early else 0.0,
        "missing_units": evidence.missing_units if is_early else 0,
        "undecided_units": undecided_units if outcome is Outcome.UNDECIDED else None,
    }


def _metric(measured: _Measured, experiment: Experiment, plan: Plan) -> MetricReport:
    metric = None if measured.error else measured.metric
    return {
        "metric": measured.name,
        "role": measured.role,
        "units": measured.units,
        # Can be translated until it is stored.
        "error": measured.error,
        "warning": measured.warning,
        "added_on_day": _added_on_day(experiment, measured.name),
        "kind": type(metric).__name__.lower() if metric else "",
        "description": metric.description if metric else "",
        "higher_is_better": metric.higher_is_better if metric else True,
        "is_proportion": metric.is_proportion if metric else False,
        "after_seconds": metric.begins.total_seconds() if metric else 0.0,
        "window_seconds": metric.window.total_seconds() if metric else 0.0,
        "treatments": [_result(result, measured, experiment, plan) for result in measured.results]
        if metric
        else [],
        "before": measured.before,
    }


def _added_on_day(experiment: Experiment, metric: str) -> int | None:
    added, started = added_at(experiment, metric), experiment.started_at
    return None if added is None or started is None else (added - aware(started)).days + 1


def _result(
    result: Result, measured: _Measured, experiment: Experiment, plan: Plan
) -> TreatmentReport:
    corrected = measured.corrected.get(result.treatment)
    alpha = corrected.interval_alpha if corrected else ALPHA
    decisive = result.decisive if corrected and corrected.is_rejected else None
    tolerated = experiment.guardrails[measured.name] if measured.role == GUARDRAIL else None
    newest, bound = result.newest, result.harm_bound(plan)
    alpha_to_stop = stop_alpha(experiment)
    return {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "corrected_p_value": corrected.p_value if corrected else None,
        "is_significant": decisive is not None,
        "decided_at": time_as_json(decisive.at) if decisive else None,
        "decided_difference": decisive.difference.value if decisive else None,
        "interval_alpha": alpha,
        "newest": _newest(newest, plan, alpha) if newest else None,
        "tolerated_harm": tolerated,
        "harm_bound": None if tolerated is None else _finite(bound),
        "is_harmed": None if tolerated is None else bound > tolerated,
        "is_stopping": None
        if tolerated is None
        else result.harm_bound(plan, alpha_to_stop) > tolerated,
        "stop_alpha": None if tolerated is None else alpha_to_stop,
    }


def _newest(look: Look, plan: Plan, alpha: float) -> NewestLook:
    effect = _effect(always_valid(look.difference, plan, alpha))
    return {
        "at": cast("str", time_as_json(look.at)),
        "units": look.difference.units,
        "control": look.control.value,
        "control_standard_error": look.control.standard_error,
        "treatment": look.treatment.value,
        "treatment_standard_error": look.treatment.standard_error,
        "difference": effect,
        "relative_difference": scaled(effect, look.control.value) if look.lift else None,
        "lift": _effect(always_valid(look.lift, plan, alpha)) if look.lift else None,
        "p_value": look.p_value,
        "sums": {
            name: {**asdict(sums), "variance": sums.of_y.variance}
            for name, sums in zip(("control", "treatment"), look.sums, strict=True)
        },
        "theta": look.theta,
        "variance_reduction": look.variance_reduction,
    }


def _effect(comparison: Comparison) -> EffectReport:
    return {
        "value": comparison.value,
        "standard_error": comparison.standard_error,
        "low": _finite(comparison.low),
        "high": _finite(comparison.high),
    }


def scaled(effect: EffectReport, divisor: float) -> EffectReport:
    """Returns an effect in relation to a positive number."""
    low, high = effect["low"], effect["high"]
    return {
        "value": effect["value"] / divisor,
        "standard_error": effect["standard_error"] / divisor,
        "low": None if low is None else low / divisor,
        "high": None if high is None else high / divisor,
    }


def _finite(number: float | None) -> float | None:
    """Returns the number; None for one that JSON cannot have."""
    return number if number is not None and math.isfinite(number) else None
