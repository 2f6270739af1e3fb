"""The report of an experiment: counts, results of the metrics, and a verdict on each treatment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from django.db import DataError, ProgrammingError, transaction

from flagstaff._engine import forced_off
from flagstaff._tables.sqlstate import error_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.allocation import shares
from flagstaff.experiments.counts import count
from flagstaff.experiments.look_columns import as_columns, effect_report, finite, relative
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Metric, Retention, find_metric
from flagstaff.experiments.missing_units import missing_for_interval
from flagstaff.experiments.models import Experiment, Method, Phase
from flagstaff.experiments.reassigned_buckets import (
    BucketRanges,
    reassigned_buckets,
    shares_that_stay,
)
from flagstaff.experiments.report_data import (
    ExposureReport,
    MetricReport,
    NewestLook,
    PhaseReport,
    Report,
    Role,
    SettingsReport,
    StratumReport,
    TreatmentReport,
    VariantReport,
    VerdictReport,
)
from flagstaff.experiments.results import (
    ALPHA,
    Analysis,
    Look,
    Result,
    Stratum,
    results_of,
    units_of,
)
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


@dataclass(frozen=True)
class _Measured:
    """A metric with its results, one for each treatment."""

    name: str
    role: Role
    #: None if it cannot be used.
    metric: Metric | None
    #: Units whose window was over at the last full hour.
    units: int
    results: Sequence[Result]
    #: By treatment; empty for a guardrail, which is not in the correction.
    corrected: dict[str, Corrected]
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
    phases: Sequence[Phase]
    counts: ExposureReport
    analysis: Analysis
    metrics: Sequence[_Measured]

    @property
    def primary(self) -> _Measured | None:
        """The metric that decides."""
        return next((metric for metric in self.metrics if metric.role is Role.PRIMARY), None)


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
    has_mismatch = counts.mismatch_p_value < MISMATCH_ALPHA
    measured = [
        _measured(experiment, named, analysis, None if has_mismatch else moved)
        for named in _roles(experiment)
    ]
    study = _Study(experiment, phases, counts, analysis, _corrected(measured, analysis))
    is_judged = study.primary is None or not study.primary.error
    days = _days(phases, now)
    return Report(
        key=experiment.key,
        description=experiment.description,
        owner=experiment.owner,
        state=experiment.state,
        winner=experiment.winner or None,
        forced_off=experiment.key in forced_off.keys,
        frozen_at=None,
        started_at=experiment.started_at,
        ended_at=experiment.ended_at,
        settings=_settings(experiment),
        phases=[_phase(phase, moved[phase.number]) for phase in phases],
        exposures=counts,
        has_mismatch=has_mismatch,
        verdicts=[
            _verdict(arm, judge(_evidence(study, arm, days))) for arm in analysis.variants[1:]
        ]
        if is_judged
        else [],
        metrics=[_metric(one, study) for one in study.metrics],
    )


def _roles(experiment: Experiment) -> list[tuple[str, Role]]:
    primary = [(experiment.primary_metric, Role.PRIMARY)] if experiment.primary_metric else []
    others = [(name, Role.OTHER) for name in experiment.other_metrics]
    return [*primary, *others, *((name, Role.GUARDRAIL) for name in experiment.guardrails)]


def _measured(
    experiment: Experiment,
    named: tuple[str, Role],
    analysis: Analysis,
    moved: BucketRanges | None,
) -> _Measured:
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
        return _Measured(name, role, metric, 0, results, {}, why)
    results = results_of(metric, hours, analysis)
    return _Measured(name, role, metric, units_of(hours), results, {})


def _corrected(metrics: Sequence[_Measured], analysis: Analysis) -> list[_Measured]:
    """Returns the metrics with p values by Holm. Guardrails are not in the correction."""
    tested = [
        (metric.name, result)
        for metric in metrics
        if metric.role is not Role.GUARDRAIL
        for result in metric.results
    ]
    by_metric: dict[str, dict[str, Corrected]] = {metric.name: {} for metric in metrics}
    corrected = holm([result.p_value for _, result in tested], ALPHA)
    for (name, result), one in zip(tested, corrected, strict=True):
        is_rejected = one.is_rejected and _excludes_zero(result, one.interval_alpha, analysis)
        by_metric[name][result.treatment] = replace(one, is_rejected=is_rejected)
    return [replace(metric, corrected=by_metric[metric.name]) for metric in metrics]


def _excludes_zero(result: Result, alpha: float, analysis: Analysis) -> bool:
    """Whether the interval that is drawn says the same as the p value of the look that decides.

    It always does but for shares at a fixed horizon: near the limit, the pooled test and Newcombe's
    interval can differ. Then there is no effect, which is never too early.
    """
    if result.decisive is None:
        return False
    found = analysis.compare_difference(result.decisive, alpha)
    return found.low > 0 or found.high < 0


def _days(phases: Sequence[Phase], now: datetime) -> float:
    """Returns how long the experiment has run since its last shuffle, in days."""
    spans = (max((phase.ended_at or now) - phase.started_at, timedelta(0)) for phase in phases)
    return sum(spans, timedelta(0)) / _DAY


def _evidence(study: _Study, treatment: str, days: float) -> Evidence:
    experiment, analysis, counts = study.experiment, study.analysis, study.counts
    primary = study.primary
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
            for metric in study.metrics
            if metric.role is Role.GUARDRAIL
            for result in metric.results
            if result.treatment == treatment
        ],
        is_always_valid=analysis.is_sequential,
        is_complete=is_complete,
        smallest_effect=experiment.smallest_effect,
    )


def _primary(primary: _Measured | None, analysis: Analysis, treatment: str) -> Primary:
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


# The figures of the report.

_SETTINGS = (
    *("traffic_percent", "bucket_by", "rules", "shuffle", "method", "planned_units"),
    *("min_days", "min_units", "smallest_effect"),
)


def _settings(experiment: Experiment) -> SettingsReport:
    found = shares(experiment.allocation)
    return SettingsReport(
        variants=[
            VariantReport(**variant, share=found.get(variant["key"], 0.0))
            for variant in experiment.variants
        ],
        alpha=ALPHA,
        **{name: getattr(experiment, name) for name in _SETTINGS},
    )


def _phase(phase: Phase, moved: Sequence[tuple[int, int]]) -> PhaseReport:
    return PhaseReport(
        number=phase.number,
        shares=phase.shares,
        analysed_shares=shares_that_stay(phase, moved),
        started_at=phase.started_at,
        ended_at=phase.ended_at,
    )


def _verdict(treatment: str, verdict: Verdict) -> VerdictReport:
    return VerdictReport(
        treatment=treatment,
        outcome=verdict.outcome,
        may_conclude=verdict.may_conclude,
        may_not_conclude=verdict.may_not_conclude,
        harmed=verdict.harmed,
        failed=verdict.failed,
        missing_days=verdict.missing_days,
        missing_units=verdict.missing_units,
        largest_possible_effect=finite(verdict.largest_possible),
    )


def _metric(one: _Measured, study: _Study) -> MetricReport:
    metric = one.metric
    if one.error or metric is None:
        return MetricReport(one.name, one.role, one.units, one.error)
    return MetricReport(
        metric=one.name,
        role=one.role,
        units=one.units,
        kind=type(metric).__name__.lower(),
        description=metric.description,
        higher_is_better=metric.higher_is_better,
        is_proportion=metric.is_proportion,
        window_seconds=metric.window.total_seconds(),
        day=metric.day if isinstance(metric, Retention) else None,
        treatments=[_result(result, one, study) for result in one.results],
    )


def _result(result: Result, one: _Measured, study: _Study) -> TreatmentReport:
    corrected = one.corrected.get(result.treatment)
    decisive = result.decisive if corrected and corrected.is_rejected else None
    found = TreatmentReport(
        treatment=result.treatment,
        p_value=result.p_value,
        corrected_p_value=corrected.p_value if corrected else None,
        is_significant=bool(corrected and corrected.is_rejected),
        decided_at=decisive.at if decisive else None,
        decided_difference=decisive.difference.value if decisive else None,
        interval_alpha=one.alpha(result.treatment),
        newest=_look(result.newest, result, one, study) if result.newest else None,
        looks=as_columns(result.looks, is_guardrail=one.role is Role.GUARDRAIL),
    )
    if one.role is not Role.GUARDRAIL:
        return found
    tolerated = study.experiment.guardrails[one.name]
    return replace(
        found,
        tolerated_harm=tolerated,
        harm_bound=finite(result.harm_bound),
        is_harmed=result.harm_bound > tolerated,
    )


def _look(look: Look, result: Result, one: _Measured, study: _Study) -> NewestLook:
    analysis, alpha = study.analysis, one.alpha(result.treatment)
    arms = (analysis.variants[0], result.treatment)
    effect = effect_report(analysis.compare_difference(look, alpha))
    return NewestLook(
        at=look.at,
        units=look.units,
        control=look.control.value,
        control_standard_error=look.control.standard_error,
        treatment=look.treatment.value,
        treatment_standard_error=look.treatment.standard_error,
        difference=effect,
        relative_difference=relative(effect, look.control.value, has_lift=look.lift is not None),
        lift=None if look.lift is None else effect_report(analysis.compare(look.lift, alpha)),
        p_value=look.p_value,
        missing_for_interval=missing_for_interval(look, arms, analysis),
        phases=[_stratum(stratum) for stratum in look.strata],
    )


def _stratum(stratum: Stratum) -> StratumReport:
    control, treatment = stratum.sums
    return StratumReport(
        phase=stratum.phase,
        control={**asdict(control), "variance": control.of_y.variance},
        treatment={**asdict(treatment), "variance": treatment.of_y.variance},
        theta=stratum.theta,
        variance_reduction=stratum.variance_reduction,
    )
