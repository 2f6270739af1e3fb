"""The report of an experiment as a dict of JSON, which the page, the command and programs read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flagstaff.experiments.allocation import shares
from flagstaff.experiments.counts import Counts
from flagstaff.experiments.metrics import Ratio, Retention
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.reporting import MetricReport, Report, Role, make_report
from flagstaff.experiments.results import ALPHA, Look, Result
from flagstaff.experiments.rows import find
from flagstaff.experiments.statistics import Comparison, Effect, Verdict

__all__ = ["report", "report_of"]


def report(key: str) -> dict[str, Any]:
    """Returns the report of an experiment as a dict of JSON values, its times as ISO 8601.

    It has the last full hour as its end, so that all who ask within an hour see the same. That of a
    shipped experiment was frozen. A bound that is not known is None. Makes a query for each metric,
    which may read many rows, and a few others. Raises UnknownExperimentError, and
    ConfigurationError for a metric that cannot be used.
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
                "started_at": phase.started_at,
                "ended_at": phase.ended_at,
            }
            for phase in report.phases
        ],
        "exposures": _counts(report.counts),
        "has_mismatch": report.has_mismatch,
        "verdicts": [_verdict(arm, verdict) for arm, verdict in report.verdicts.items()],
        "metrics": [_metric(one, report) for one in report.metrics],
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
        "planned_users": experiment.planned_users,
        "min_days": experiment.min_days,
        "min_users": experiment.min_users,
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
        "workers_without_last_report": counts.lost_workers,
        "mismatch_p_value": counts.mismatch_p_value,
        "chi_square_p_value": counts.chi_square_p_value,
        "days": [{"day": day, "units": dict(units)} for day, units in counts.days],
    }


def _verdict(treatment: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "treatment": treatment,
        "outcome": verdict.outcome.value,
        "may_conclude": [one.value for one in verdict.may_conclude],
        "may_not_conclude": [one.value for one in verdict.may_not_conclude],
        "harmed": list(verdict.harmed),
        "missing_days": verdict.missing_days,
        "missing_users": verdict.missing_users,
        "largest_possible_effect": _finite(verdict.largest_possible),
    }


def _metric(one: MetricReport, report: Report) -> dict[str, Any]:
    metric = one.metric
    return {
        "metric": one.name,
        "role": one.role,
        "kind": type(metric).__name__.lower(),
        "description": metric.description,
        "higher_is_better": metric.higher_is_better,
        "is_proportion": metric.is_proportion,
        "window_seconds": metric.window.total_seconds(),
        "day": metric.day if isinstance(metric, Retention) else None,
        "is_ratio": isinstance(metric, Ratio),
        "users": one.users,
        "treatments": [_result(result, one, report) for result in one.results],
    }


def _result(result: Result, one: MetricReport, report: Report) -> dict[str, Any]:
    corrected = one.corrected.get(result.treatment)
    looks = [_look(look, one.alpha(result.treatment), report) for look in result.looks]
    decisive = result.decisive
    found = {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "corrected_p_value": corrected.p_value if corrected else None,
        "is_significant": bool(corrected and corrected.is_rejected),
        "decided_at": decisive.at if decisive and corrected and corrected.is_rejected else None,
        "interval_alpha": one.alpha(result.treatment),
        "newest": looks[-1] if looks else None,
        "looks": looks,
    }
    if one.role == Role.GUARDRAIL:
        tolerated = report.experiment.guardrails[one.name]
        found["tolerated_harm"] = tolerated
        found["harm_bound"] = _finite(result.harm_bound)
        found["is_harmed"] = result.harm_bound > tolerated
    return found


def _look(look: Look, alpha: float, report: Report) -> dict[str, Any]:
    return {
        "at": look.at,
        "users": look.users,
        "control": look.control.value,
        "treatment": look.treatment.value,
        "difference": _interval(look.difference, alpha, report),
        "lift": _interval(look.lift, alpha, report),
    }


def _interval(effect: Effect | None, alpha: float, report: Report) -> dict[str, Any] | None:
    if effect is None:
        return None
    found: Comparison = report.analysis.compare(effect, alpha)
    return {"value": found.value, "low": _finite(found.low), "high": _finite(found.high)}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
