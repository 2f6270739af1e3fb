"""The report of an experiment as a dict of JSON, which the page, the command and programs read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flagstaff._words.message import from_json, to_json
from flagstaff.experiments import messages
from flagstaff.experiments.allocation import shares
from flagstaff.experiments.counts import Counts, HourUnits
from flagstaff.experiments.look_columns import as_columns, effect_as_json, finite
from flagstaff.experiments.metrics import Ratio, Retention
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.reporting import MetricReport, Report, Role, make_report
from flagstaff.experiments.results import ALPHA, Look, Result, Stratum, conversions_of
from flagstaff.experiments.rows import find
from flagstaff.experiments.statistics import (
    LEAST_CONVERSIONS,
    LEAST_UNITS,
    PairSums,
    Sums,
    Verdict,
    missing_contributors,
)

_HOUR = timedelta(hours=1)


def report(key: str) -> dict[str, Any]:
    """Returns the report of an experiment as a dict of JSON values, its times as ISO 8601.

    It has the last full hour as its end, so that all who ask within an hour see the same. That of a
    shipped experiment was frozen. A bound that is not known is None. A metric that fails has an
    error and no results; if it is the primary one or a guardrail, no treatment is better. Makes a
    query for each metric, which may read many rows, and a few others. Raises
    UnknownExperimentError, and ConfigurationError if EXCLUDED_UNITS fail.
    """
    return report_of(find(key))


def report_of(experiment: Experiment) -> dict[str, Any]:
    """Returns the same of a row: the frozen report, or one that is made now."""
    if experiment.frozen_report is not None:
        return _frozen(experiment, experiment.frozen_report)
    made = _report(make_report(experiment, timezone.now()))
    found: dict[str, Any] = json.loads(json.dumps(made, cls=DjangoJSONEncoder))
    return found


def _frozen(experiment: Experiment, frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the frozen report with the end, which came after it."""
    end = json.loads(json.dumps(experiment.ended_at, cls=DjangoJSONEncoder))
    return {
        **frozen,
        "state": experiment.state,
        "winner": experiment.winner or None,
        "ended_at": end,
        "phases": [{**phase, "ended_at": phase["ended_at"] or end} for phase in frozen["phases"]],
    }


def _report(report: Report) -> dict[str, Any]:
    experiment = report.experiment
    return {
        "key": experiment.key,
        "description": experiment.description,
        "owner": experiment.owner,
        "state": experiment.state,
        "winner": experiment.winner or None,
        "frozen_at": None,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "settings": _settings(experiment),
        "phases": [
            {
                "number": phase.number,
                "shares": phase.shares,
                "analysed_shares": report.counts.shares.get(phase.number, {}),
                "started_at": phase.started_at,
                "ended_at": phase.ended_at,
            }
            for phase in report.phases
        ],
        "exposures": _counts(report.counts),
        "has_mismatch": report.has_mismatch,
        "verdicts": [_verdict(arm, verdict) for arm, verdict in report.verdicts.items()],
        "metrics": [_metric(metric, report) for metric in report.metrics],
    }


def _settings(experiment: Experiment) -> dict[str, Any]:
    found = shares([(owner, number) for owner, number in experiment.allocation])
    return {
        "variants": [
            {**variant, "share": found.get(variant["key"], 0.0)} for variant in experiment.variants
        ],
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "rules": experiment.rules,
        "shuffle": experiment.shuffle,
        "method": experiment.method,
        "planned_units": experiment.planned_units,
        "min_days": experiment.min_days,
        "min_units": experiment.min_units,
        "smallest_effect": experiment.smallest_effect,
        "alpha": ALPHA,
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "units": dict(counts.units),
        "expected": dict(counts.expected),
        "present_hour": dict(counts.present_hour),
        "met_two_variants": counts.met_two,
        "moved": counts.moved,
        "lost": counts.lost,
        "left_out": counts.left_out,
        "returned": dict(counts.returned) or None,
        "workers_without_last_report": counts.lost_workers,
        "mismatch_p_value": counts.mismatch_p_value,
        "chi_square_p_value": counts.chi_square_p_value,
        "days": [{"day": day, "units": dict(units)} for day, units in counts.days],
        "hours": _hours(counts.hours, list(counts.units)),
    }


def _hours(found: Sequence[HourUnits], variants: Sequence[str]) -> dict[str, Any]:
    """Returns the units by the hour of their exposure and by phase, as columns."""
    first: datetime | None = found[0].at if found else None
    return {
        "first": first,
        "hours": [(one.at - found[0].at) // _HOUR for one in found],
        "phase": [one.phase for one in found],
        "units": {arm: [one.units.get(arm, 0) for one in found] for arm in variants},
    }


def _verdict(treatment: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "treatment": treatment,
        "outcome": verdict.outcome.value,
        "may_conclude": [one.value for one in verdict.may_conclude],
        "may_not_conclude": [one.value for one in verdict.may_not_conclude],
        "harmed": list(verdict.harmed),
        "failed": list(verdict.failed),
        "missing_days": verdict.missing_days,
        "missing_units": verdict.missing_units,
        "largest_possible_effect": finite(verdict.largest_possible),
    }


def metric_error(report: Mapping[str, Any], *, every_metric: bool = False) -> str:
    """Returns why a metric that the verdict needs fails, as a sentence; empty if none does.

    These are the primary metric and the guardrails, or every metric.
    """
    for one in report["metrics"]:
        if (every_metric or one["role"] != Role.OTHER) and one.get("error"):
            error = from_json(one["error"])
            return messages.METRIC_FAILS(metric=one["metric"], error=error)
    return ""


def _metric(one: MetricReport, report: Report) -> dict[str, Any]:
    error = to_json(one.error) if one.error else None
    found = {"metric": one.name, "role": one.role, "units": one.units, "error": error}
    metric = one.metric
    if one.error or metric is None:
        return {**found, "treatments": []}
    return {
        **found,
        "kind": type(metric).__name__.lower(),
        "description": metric.description,
        "higher_is_better": metric.higher_is_better,
        "is_proportion": metric.is_proportion,
        "window_seconds": metric.window.total_seconds(),
        "day": metric.day if isinstance(metric, Retention) else None,
        "is_ratio": isinstance(metric, Ratio),
        "treatments": [_result(result, one, report) for result in one.results],
    }


def _result(result: Result, one: MetricReport, report: Report) -> dict[str, Any]:
    corrected = one.corrected.get(result.treatment)
    decisive = result.decisive if corrected and corrected.is_rejected else None
    found = {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "corrected_p_value": corrected.p_value if corrected else None,
        "is_significant": bool(corrected and corrected.is_rejected),
        "decided_at": decisive.at if decisive else None,
        "decided_difference": decisive.difference.value if decisive else None,
        "interval_alpha": one.alpha(result.treatment),
        "newest": _look(result.newest, result, one, report) if result.newest else None,
        "looks": as_columns(result.looks, is_guardrail=one.role == Role.GUARDRAIL),
    }
    if one.role == Role.GUARDRAIL:
        tolerated = report.experiment.guardrails[one.name]
        found["tolerated_harm"] = tolerated
        found["harm_bound"] = finite(result.harm_bound)
        found["is_harmed"] = result.harm_bound > tolerated
    return found


def _look(look: Look, result: Result, one: MetricReport, report: Report) -> dict[str, Any]:
    analysis, alpha = report.analysis, one.alpha(result.treatment)
    arms = (analysis.variants[0], result.treatment)
    return {
        "at": look.at,
        "units": look.units,
        "control": look.control.value,
        "control_standard_error": look.control.standard_error,
        "treatment": look.treatment.value,
        "treatment_standard_error": look.treatment.standard_error,
        "difference": effect_as_json(
            look.difference, lambda _: analysis.compare_difference(look, alpha)
        ),
        "lift": effect_as_json(look.lift, lambda lift: analysis.compare(lift, alpha)),
        "p_value": look.p_value,
        "missing_for_interval": [
            {"variant": arms[missing.arm], "what": missing.what, "units": missing.number}
            for missing in _missing_for_interval(look, is_sequential=analysis.is_sequential)
        ],
        "phases": [_stratum(stratum) for stratum in look.strata],
    }


def _stratum(stratum: Stratum) -> dict[str, Any]:
    """Returns the sums of one phase, from which everything else of the look can be computed."""
    control, treatment = stratum.sums
    return {
        "phase": stratum.phase,
        "control": {**asdict(control), "variance": control.of_y.variance},
        "treatment": {**asdict(treatment), "variance": treatment.of_y.variance},
        "theta": stratum.theta,
        "variance_reduction": stratum.variance_reduction,
    }


# What a variant needs until a metric has an interval.


@dataclass(frozen=True)
class _Missing:
    """What a variant needs until there is an interval."""

    #: 0 for the control, 1 for the treatment.
    arm: int
    #: "units", units "with_value" other than 0, or units "without_value" of a proportion.
    what: str
    number: int


def _missing_for_interval(look: Look, *, is_sequential: bool) -> list[_Missing]:
    """Returns what each arm needs, in the newest phase; nothing where an earlier phase is short.

    It says how much is missing, and nothing depends on it: an experiment that ended as soon as
    there is an interval would be right with `sequential` only.
    """
    found = []
    both = look.strata[-1].sums
    together = () if is_sequential else [sums.of_y for sums in both]
    for arm, sums in enumerate(both):
        needs = _needs_of_share(sums) if look.is_proportion else _needs_of_mean(sums, together)
        found += [_Missing(arm, what, number) for what, number in needs.items() if number > 0]
    return found


def _needs_of_share(arm: PairSums) -> dict[str, int]:
    counts = conversions_of(arm)
    others = counts.units - counts.converted
    return {
        "with_value": LEAST_CONVERSIONS - counts.converted,
        "without_value": LEAST_CONVERSIONS - others,
    }


def _needs_of_mean(arm: PairSums, together: Sequence[Sums]) -> dict[str, int]:
    return {"with_value": missing_contributors(arm, together), "units": LEAST_UNITS - arm.units}
