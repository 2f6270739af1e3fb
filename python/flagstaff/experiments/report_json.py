"""The report of an experiment as a dict for JSON, with the same figures as the page."""

from __future__ import annotations

import math
from typing import Any

from flagstaff.experiments.counts import Counts
from flagstaff.experiments.report import MetricReport, Report
from flagstaff.experiments.results import Look, Result
from flagstaff.experiments.statistics import Comparison, Verdict

__all__ = ["report_as_dict"]


def report_as_dict(report: Report) -> dict[str, Any]:
    """Returns a report as JSON has it. Infinite bounds are null: nothing is known on that side."""
    experiment = report.experiment
    return {
        "key": experiment.key,
        "state": experiment.state,
        "winner": experiment.winner or None,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "phase": experiment.phase,
        "shuffle": experiment.shuffle,
        "variants": experiment.variants,
        "traffic_percent": experiment.traffic_percent,
        "bucket_by": experiment.bucket_by,
        "method": experiment.method,
        "planned_users": experiment.planned_users,
        "exposures": _counts(report.counts),
        "verdicts": {arm: _verdict(verdict) for arm, verdict in report.verdicts.items()},
        "metrics": [_metric(one) for one in report.metrics],
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "units": dict(counts.units),
        "met_two_variants": counts.moved,
        "lost": counts.lost,
        "workers_without_last_report": counts.lost_workers,
        "mismatch_p_value": counts.mismatch_p_value,
        "chi_square_p_value": counts.chi_square_p_value,
        "days": [{"day": day.date(), "units": dict(units)} for day, units in counts.days],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome.value,
        "may_conclude": [one.value for one in verdict.may_conclude],
        "may_not_conclude": [one.value for one in verdict.may_not_conclude],
        "harmed": list(verdict.harmed),
        "missing_days": verdict.missing_days,
        "missing_users": verdict.missing_users,
        "largest_possible_effect": _finite(verdict.largest_possible),
    }


def _metric(one: MetricReport) -> dict[str, Any]:
    return {
        "metric": one.name,
        "role": one.role,
        "description": one.metric.description,
        "higher_is_better": one.metric.higher_is_better,
        "treatments": [_result(result) for result in one.results],
    }


def _result(result: Result) -> dict[str, Any]:
    newest = result.newest
    return {
        "treatment": result.treatment,
        "p_value": result.p_value,
        "newest": None if newest is None else _look(newest),
        "looks": [
            {"at": look.at, "users": look.users, "lift": _comparison(look.lift)}
            for look in result.looks
        ],
    }


def _look(look: Look) -> dict[str, Any]:
    return {
        "at": look.at,
        "users": look.users,
        "control": look.control.value,
        "treatment": look.treatment.value,
        "difference": _comparison(look.difference),
        "lift": _comparison(look.lift),
        "harm_bound": _finite(look.harm_bound),
    }


def _comparison(found: Comparison | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"value": found.value, "low": _finite(found.low), "high": _finite(found.high)}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
