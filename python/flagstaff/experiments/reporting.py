"""The report of an experiment: counts, results of the metrics, and a verdict on each treatment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import cast

from django.db import DatabaseError, DataError, OperationalError, ProgrammingError, transaction
from django.utils import timezone as django_timezone

from flagstaff._engine import forced_off
from flagstaff._tables.sqlstate import QUERY_CANCELED, error_text, sqlstate
from flagstaff._words.text import Text
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.counts import count
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Metric, find_metric
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.report_data import (
    GUARDRAIL,
    OTHER,
    PRIMARY,
    VERSION,
    EffectReport,
    ExposureReport,
    MetricReport,
    MissingUnits,
    NewestLook,
    Report,
    SettingsReport,
    TreatmentReport,
    VerdictReport,
)
from flagstaff.experiments.results import (
    ALPHA,
    Look,
    Result,
    conversions_of,
    plan_of,
    results_of,
    units_of,
)
from flagstaff.experiments.rows import find
from flagstaff.experiments.statistics import (
    LEAST_CONVERSIONS,
    LEAST_UNITS,
    MISMATCH_ALPHA,
    Comparison,
    Corrected,
    Evidence,
    Guardrail,
    Outcome,
    PairSums,
    Plan,
    always_valid,
    conclusions,
    holm,
    judge,
    missing_contributors,
)
from flagstaff.experiments.variants import shares_of

_DAY = timedelta(days=1)
# With these outcomes, the figures of the primary metric may be shown as a result.
_RESULTS = {Outcome.BETTER, Outcome.WORSE, Outcome.NO_DIFFERENCE, Outcome.UNDECIDED}
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


def read_report(experiment: Experiment) -> tuple[Report | None, str]:
    """Returns the report, and the message why it cannot be stored; empty if it can.

    The report is None if even the exposures cannot be read, so that a page or a question can do
    without one.
    """
    try:
        with transaction.atomic(using=conf.database):
            found = report_of(experiment)
    except ConfigurationError as error:
        return None, error.message
    except DatabaseError as error:
        return None, error_text(error)
    return found, metric_error(found)


def withdrawn_by_addition(report: Report) -> list[str]:
    """Returns the results that are significant, and no longer so with one more metric."""
    tested = [
        (f"{metric['metric']} ({result['treatment']})", result)
        for metric in report["metrics"]
        if metric["role"] != GUARDRAIL
        for result in metric["treatments"]
    ]
    more = [1.0] * (len(report["settings"]["variants"]) - 1)
    corrected = holm([*(result["p_value"] for _, result in tested), *more], ALPHA)
    return [
        name
        for (name, result), one in zip(tested, corrected, strict=False)
        if result["is_significant"] and not one.is_rejected
    ]


def metric_error(report: Report, *, every_metric: bool = False) -> str:
    """Returns why a metric that the verdict needs fails, as a message; empty if none does.

    These are the primary metric and the guardrails, or every metric.
    """
    for one in report["metrics"]:
        if one["error"] and (every_metric or one["role"] != OTHER):
            return Text(
                "the metric {metric} fails: {error}", metric=one["metric"], error=one["error"]
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


def make_report(experiment: Experiment, now: datetime) -> Report:
    """Returns the report of an experiment. Makes a query for each metric, and a few others.

    A metric that fails has an error instead of results. Raises ConfigurationError if the exposures
    cannot be read because of EXCLUDED_UNITS.
    """
    counts = count(experiment)
    plan = plan_of(experiment)
    has_mismatch = counts["mismatch_p_value"] < MISMATCH_ALPHA
    metrics = _corrected(
        [
            _measured(experiment, name, role, plan, is_valid=not has_mismatch)
            for name, role in _roles(experiment)
        ]
    )
    primary = next((one for one in metrics if one.role == PRIMARY), None)
    treatments = () if primary and primary.error else _variants(experiment)[1:]
    evidence = {arm: _evidence(experiment, counts, metrics, arm, now) for arm in treatments}
    return {
        "version": VERSION,
        "key": experiment.key,
        "description": experiment.description,
        "owner": experiment.owner,
        "state": experiment.state,
        "winner": experiment.winner or None,
        "forced_off": experiment.key in forced_off.keys,
        "frozen_at": None,
        "started_at": time_as_json(experiment.started_at),
        "ended_at": time_as_json(experiment.ended_at),
        "settings": _settings(experiment),
        "exposures": counts,
        "has_mismatch": has_mismatch,
        "verdicts": [_verdict(arm, found) for arm, found in evidence.items()],
        "metrics": [_metric(one, experiment, plan) for one in metrics],
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


def _measured(
    experiment: Experiment, name: str, role: str, plan: Plan, *, is_valid: bool
) -> _Measured:
    """Returns a metric and its results; none with a mismatch, because no figure is valid then."""
    metric, why, variants = None, "", _variants(experiment)
    try:
        metric = find_metric(name)
        # A savepoint, so that the other metrics can be measured after an error.
        with transaction.atomic(using=conf.database):
            since = added_at(experiment, name)
            hours = measure(experiment, metric, since) if is_valid else []
    except ConfigurationError as error:
        why = error.message
    except (DataError, ProgrammingError) as error:
        why = error_text(error)
    except OperationalError as error:
        if sqlstate(error) != QUERY_CANCELED:
            raise
        why = Text("a time limit ended its query, so its results are not known")
    else:
        results = results_of(metric, hours, variants, plan)
        return _Measured(name, role, metric, units_of(hours), results)
    # With p values of 1, so that the others are corrected as if it did not fail.
    results = [Result(treatment) for treatment in variants[1:]]
    return _Measured(name, role, metric, 0, results, error=why)


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
    corrected = holm([result.p_value for _, result in tested], ALPHA)
    for (name, result), one in zip(tested, corrected, strict=True):
        by_metric[name][result.treatment] = one
    return [replace(metric, corrected=by_metric[metric.name]) for metric in metrics]


def _evidence(
    experiment: Experiment,
    counts: ExposureReport,
    metrics: Sequence[_Measured],
    treatment: str,
    now: datetime,
) -> Evidence:
    control = experiment.variants[0]["key"]
    units = min(counts["units"][arm] for arm in (control, treatment))
    by_role = [
        (metric, result)
        for metric in metrics
        for result in metric.results
        if result.treatment == treatment
    ]
    guardrails = [
        Guardrail(
            metric.name,
            result.harm_bound,
            experiment.guardrails[metric.name],
            bool(metric.error),
        )
        for metric, result in by_role
        if metric.role == GUARDRAIL
    ]
    found = Evidence(
        comparison=_UNKNOWN,
        is_significant=False,
        mismatch_p_value=counts["mismatch_p_value"],
        guardrails=guardrails,
        missing_days=max(experiment.min_days - _days(experiment, now), 0.0),
        missing_units=max(experiment.min_units - units, 0),
        smallest_effect=experiment.smallest_effect,
    )
    for metric, result in by_role:
        if metric.role == PRIMARY and metric.metric is not None:
            corrected = metric.corrected[treatment]
            # A look that was significant stays so, with its sign; else the newest one says what is
            # known.
            look = result.decisive if corrected.is_rejected else result.newest
            if look is not None:
                plan, alpha = plan_of(experiment), corrected.interval_alpha
                found = replace(found, comparison=always_valid(look.difference, plan, alpha))
            found = replace(
                found,
                is_significant=corrected.is_rejected,
                higher_is_better=metric.metric.higher_is_better,
                is_complete=metric.units >= experiment.planned_units,
            )
    return found


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
            {"key": one["key"], "weight": one["weight"], "share": shares[one["key"]]}
            for one in experiment.variants
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


def _verdict(treatment: str, evidence: Evidence) -> VerdictReport:
    outcome = judge(evidence)
    may, may_not = conclusions(evidence, outcome)
    is_early, is_result = outcome is Outcome.TOO_EARLY, outcome in _RESULTS
    return {
        "treatment": treatment,
        "outcome": outcome.value,
        "may_conclude": [statement.value for statement in may],
        "may_not_conclude": [statement.value for statement in may_not],
        "harmed": evidence.harmed if outcome is Outcome.HARM else [],
        "failed": evidence.failed if outcome is Outcome.GUARDRAIL_FAILED else [],
        "missing_days": evidence.missing_days if is_early else 0.0,
        "missing_units": evidence.missing_units if is_early else 0,
        "largest_possible_effect": _finite(evidence.largest_possible) if is_result else None,
    }


def _metric(one: _Measured, experiment: Experiment, plan: Plan) -> MetricReport:
    metric = None if one.error else one.metric
    return {
        "metric": one.name,
        "role": one.role,
        "units": one.units,
        # Can be translated until it is stored.
        "error": one.error,
        "added_on_day": _added_on_day(experiment, one.name),
        "kind": type(metric).__name__.lower() if metric else "",
        "description": metric.description if metric else "",
        "higher_is_better": metric.higher_is_better if metric else True,
        "is_proportion": metric.is_proportion if metric else False,
        "after_seconds": metric.begins.total_seconds() if metric else 0.0,
        "window_seconds": metric.window.total_seconds() if metric else 0.0,
        "treatments": [_result(result, one, experiment, plan) for result in one.results]
        if metric
        else [],
    }


def _added_on_day(experiment: Experiment, metric: str) -> int | None:
    added, started = added_at(experiment, metric), experiment.started_at
    return None if added is None or started is None else (added - aware(started)).days + 1


def _result(result: Result, one: _Measured, experiment: Experiment, plan: Plan) -> TreatmentReport:
    corrected = one.corrected.get(result.treatment)
    alpha = corrected.interval_alpha if corrected else ALPHA
    decisive = result.decisive if corrected and corrected.is_rejected else None
    tolerated = experiment.guardrails[one.name] if one.role == GUARDRAIL else None
    arms, newest = (_variants(experiment)[0], result.treatment), result.newest
    return {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "corrected_p_value": corrected.p_value if corrected else None,
        "is_significant": decisive is not None,
        "decided_at": time_as_json(decisive.at) if decisive else None,
        "decided_difference": decisive.difference.value if decisive else None,
        "interval_alpha": alpha,
        "newest": _newest(newest, arms, plan, alpha) if newest else None,
        "tolerated_harm": tolerated,
        "harm_bound": None if tolerated is None else _finite(result.harm_bound),
        "is_harmed": None if tolerated is None else result.harm_bound > tolerated,
    }


def _newest(look: Look, arms: tuple[str, str], plan: Plan, alpha: float) -> NewestLook:
    effect = _effect(always_valid(look.difference, plan, alpha))
    missing = [
        one
        for arm, sums in zip(arms, look.sums, strict=True)
        for one in _missing(arm, sums, is_proportion=look.is_proportion)
    ]
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
        "missing_for_interval": missing,
        "sums": {
            name: {**asdict(sums), "variance": sums.of_y.variance}
            for name, sums in zip(("control", "treatment"), look.sums, strict=True)
        },
        "theta": look.theta,
        "variance_reduction": look.variance_reduction,
    }


def _effect(found: Comparison) -> EffectReport:
    return {
        "value": found.value,
        "standard_error": found.standard_error,
        "low": _finite(found.low),
        "high": _finite(found.high),
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


def _missing(variant: str, arm: PairSums, *, is_proportion: bool) -> Iterator[MissingUnits]:
    """Yields what an arm needs for an interval."""
    if is_proportion:
        counts = conversions_of(arm)
        needs = {
            "with_value": LEAST_CONVERSIONS - counts.converted,
            "without_value": LEAST_CONVERSIONS - (counts.units - counts.converted),
        }
    else:
        needs = {"with_value": missing_contributors(arm), "units": LEAST_UNITS - arm.units}
    for what, number in needs.items():
        if number > 0:
            yield {"variant": variant, "what": what, "units": number}


def _finite(number: float | None) -> float | None:
    """Returns the number; None for one that JSON cannot have."""
    return number if number is not None and math.isfinite(number) else None
