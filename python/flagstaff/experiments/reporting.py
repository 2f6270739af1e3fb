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
    LookReport,
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
    Analysis,
    Look,
    Result,
    conversions_of,
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
    Gates,
    Guardrail,
    PairSums,
    Primary,
    Verdict,
    holm,
    judge,
    missing_contributors,
)
from flagstaff.experiments.variants import shares_of

_DAY = timedelta(days=1)
# The looks of a treatment that a report has.
_MAX_LOOKS = 48
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

    def alpha(self, treatment: str) -> float:
        """Returns the alpha of the intervals."""
        corrected = self.corrected.get(treatment)
        return corrected.interval_alpha if corrected else ALPHA


@dataclass(frozen=True)
class _Study:
    """An experiment with everything that was measured."""

    experiment: Experiment
    counts: ExposureReport
    analysis: Analysis
    metrics: Sequence[_Measured]

    @property
    def primary(self) -> _Measured | None:
        """The metric that decides."""
        return next((metric for metric in self.metrics if metric.role == PRIMARY), None)


def make_report(experiment: Experiment, now: datetime) -> Report:
    """Returns the report of an experiment. Makes a query for each metric, and a few others.

    A metric that fails has an error instead of results. Raises ConfigurationError if the exposures
    cannot be read because of EXCLUDED_UNITS.
    """
    counts = count(experiment)
    variants = [variant["key"] for variant in experiment.variants]
    analysis = Analysis(variants, experiment.planned_units)
    has_mismatch = counts["mismatch_p_value"] < MISMATCH_ALPHA
    measured = [
        _measured(experiment, name, role, analysis, is_valid=not has_mismatch)
        for name, role in _roles(experiment)
    ]
    study = _Study(experiment, counts, analysis, _corrected(measured))
    is_judged = study.primary is None or not study.primary.error
    treatments = analysis.variants[1:] if is_judged else ()
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
        "verdicts": [_verdict(arm, judge(_evidence(study, arm, now))) for arm in treatments],
        "metrics": [_metric(one, study) for one in study.metrics],
    }


def _roles(experiment: Experiment) -> Iterator[tuple[str, str]]:
    if experiment.primary_metric:
        yield experiment.primary_metric, PRIMARY
    for name in experiment.other_metrics:
        yield name, OTHER
    for name in experiment.guardrails:
        yield name, GUARDRAIL


def _measured(
    experiment: Experiment, name: str, role: str, analysis: Analysis, *, is_valid: bool
) -> _Measured:
    """Returns a metric and its results; none with a mismatch, because no figure is valid then."""
    metric, why = None, ""
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
        results = results_of(metric, hours, analysis)
        return _Measured(name, role, metric, units_of(hours), results)
    # With p values of 1, so that the others are corrected as if it did not fail.
    results = [Result(treatment) for treatment in analysis.variants[1:]]
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


def _evidence(study: _Study, treatment: str, now: datetime) -> Evidence:
    experiment, analysis, counts = study.experiment, study.analysis, study.counts
    primary = study.primary
    units = min(counts["units"][arm] for arm in (analysis.variants[0], treatment))
    return Evidence(
        primary=_primary(primary, analysis, treatment),
        gates=Gates(_days(experiment, now), experiment.min_days, units, experiment.min_units),
        mismatch_p_value=counts["mismatch_p_value"],
        guardrails=[
            Guardrail(
                metric.name,
                result.harm_bound,
                experiment.guardrails[metric.name],
                bool(metric.error),
            )
            for metric in study.metrics
            if metric.role == GUARDRAIL
            for result in metric.results
            if result.treatment == treatment
        ],
        is_complete=primary is not None and primary.units >= experiment.planned_units,
        smallest_effect=experiment.smallest_effect,
    )


def _days(experiment: Experiment, now: datetime) -> float:
    """Returns how long the run has lasted, without the time for which it was stopped."""
    if experiment.runs_since is None:
        return 0.0
    return max(((experiment.ended_at or now) - experiment.runs_since) / _DAY, 0.0)


def _primary(primary: _Measured | None, analysis: Analysis, treatment: str) -> Primary:
    if primary is None or primary.metric is None:
        return Primary("", _UNKNOWN)
    [result] = [one for one in primary.results if one.treatment == treatment]
    corrected = primary.corrected[treatment]
    # A look that was significant stays so, with its sign; else the newest one says what is known.
    look = result.decisive if corrected.is_rejected else result.newest
    return Primary(
        primary.name,
        analysis.compare(look.difference, corrected.interval_alpha) if look else _UNKNOWN,
        higher_is_better=primary.metric.higher_is_better,
        corrected=corrected,
        alpha=ALPHA,
    )


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


def _verdict(treatment: str, verdict: Verdict) -> VerdictReport:
    return {
        "treatment": treatment,
        "outcome": verdict.outcome.value,
        "may_conclude": [statement.value for statement in verdict.may_conclude],
        "may_not_conclude": [statement.value for statement in verdict.may_not_conclude],
        "harmed": list(verdict.harmed),
        "failed": list(verdict.failed),
        "missing_days": verdict.missing_days,
        "missing_units": verdict.missing_units,
        "largest_possible_effect": _finite(verdict.largest_possible),
    }


def _metric(one: _Measured, study: _Study) -> MetricReport:
    metric = None if one.error else one.metric
    return {
        "metric": one.name,
        "role": one.role,
        "units": one.units,
        # Can be translated until it is stored.
        "error": one.error,
        "added_on_day": _added_on_day(study.experiment, one.name),
        "kind": type(metric).__name__.lower() if metric else "",
        "description": metric.description if metric else "",
        "higher_is_better": metric.higher_is_better if metric else True,
        "is_proportion": metric.is_proportion if metric else False,
        "after_seconds": metric.begins.total_seconds() if metric else 0.0,
        "window_seconds": metric.window.total_seconds() if metric else 0.0,
        "treatments": [_result(result, one, study) for result in one.results] if metric else [],
    }


def _added_on_day(experiment: Experiment, metric: str) -> int | None:
    added, started = added_at(experiment, metric), experiment.started_at
    return None if added is None or started is None else (added - aware(started)).days + 1


def _result(result: Result, one: _Measured, study: _Study) -> TreatmentReport:
    alpha = one.alpha(result.treatment)
    corrected = one.corrected.get(result.treatment)
    decisive = result.decisive if corrected and corrected.is_rejected else None
    tolerated = study.experiment.guardrails[one.name] if one.role == GUARDRAIL else None
    bound = result.harm_bound
    return {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "corrected_p_value": corrected.p_value if corrected else None,
        "is_significant": decisive is not None,
        "decided_at": time_as_json(decisive.at) if decisive else None,
        "decided_difference": decisive.difference.value if decisive else None,
        "interval_alpha": alpha,
        "newest": _newest(result.newest, result.treatment, study.analysis, alpha)
        if result.newest
        else None,
        "looks": [_look(look, study.analysis, alpha) for look in _shown(result.looks)],
        "tolerated_harm": tolerated,
        "harm_bound": None if tolerated is None else _finite(bound),
        "is_harmed": None if tolerated is None else bound > tolerated,
    }


def _shown(looks: Sequence[Look]) -> Sequence[Look]:
    """Returns every so many looks, with the newest one."""
    step = -(-len(looks) // _MAX_LOOKS) or 1
    return looks[::-1][::step][::-1]


def _look(look: Look, analysis: Analysis, alpha: float) -> LookReport:
    found = analysis.compare(look.difference, alpha)
    return {
        "at": cast("str", time_as_json(look.at)),
        "units": look.difference.units,
        "control": look.control.value,
        "treatment": look.treatment.value,
        "low": _finite(found.low),
        "high": _finite(found.high),
    }


def _newest(look: Look, treatment: str, analysis: Analysis, alpha: float) -> NewestLook:
    effect = _effect(analysis.compare(look.difference, alpha))
    has_lift = look.lift is not None
    control, other = look.sums
    return {
        "at": cast("str", time_as_json(look.at)),
        "units": look.difference.units,
        "control": look.control.value,
        "control_standard_error": look.control.standard_error,
        "treatment": look.treatment.value,
        "treatment_standard_error": look.treatment.standard_error,
        "difference": effect,
        "relative_difference": scaled(effect, look.control.value) if has_lift else None,
        "lift": _effect(analysis.compare(look.lift, alpha)) if look.lift else None,
        "p_value": look.p_value,
        "missing_for_interval": [
            *_missing(analysis.variants[0], control, is_proportion=look.is_proportion),
            *_missing(treatment, other, is_proportion=look.is_proportion),
        ],
        "sums": {
            "control": {**asdict(control), "variance": control.of_y.variance},
            "treatment": {**asdict(other), "variance": other.of_y.variance},
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
