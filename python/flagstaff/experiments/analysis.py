"""Changes of what is measured, and of when there is a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.conditions import require_metrics, require_state
from flagstaff.experiments.models import Experiment, Method, State
from flagstaff.experiments.rows import Kind, locked, record

#: Results would not be valid if these changed after a look.
_FIXED = ("method", "planned_users", "smallest_effect")


def set_metrics(  # noqa: PLR0913 (the columns of the analysis)
    key: str,
    *,
    primary: str | None = None,
    others: Sequence[str] | None = None,
    guardrails: Mapping[str, float] | None = None,
    method: Method | str | None = None,
    planned_users: int | None = None,
    min_days: int | None = None,
    min_users: int | None = None,
    smallest_effect: float | None = None,
) -> Experiment:
    """Sets what is measured, and when there is a verdict. None leaves a setting as it is.

    A change after a look would make results invalid. So an experiment that has started keeps its
    method, its planned users, its primary metric, and the other metrics and guardrails that it has;
    metrics can be added. Raises UnknownExperimentError, InvalidExperimentError, or ExperimentError.
    """
    changes = {
        "primary_metric": primary,
        "other_metrics": None if others is None else list(others),
        "guardrails": None if guardrails is None else dict(guardrails),
        "method": method,
        "planned_users": planned_users,
        "min_days": min_days,
        "min_users": min_users,
        "smallest_effect": smallest_effect,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    with locked(key) as experiment:
        require_state(experiment, "changed", State.DRAFT, State.RUNNING, State.STOPPED)
        if not given:
            return experiment
        if experiment.phase:
            _require_same(experiment, given)
        for name, value in given.items():
            setattr(experiment, name, value)
        require_metrics(experiment)
        experiment.save(using=conf.database)
        text = "; ".join(
            f"{name.replace('_', ' ')} {_text(value)}" for name, value in given.items()
        )
        record(experiment, Kind.EDITED, f"analysis: {text}")
        return experiment


def _require_same(experiment: Experiment, given: Mapping[str, Any]) -> None:
    """Raises ExperimentError if results that were seen could be replaced by more pleasant ones."""
    kept = {name: getattr(experiment, name) for name in _FIXED}
    if experiment.primary_metric:
        kept["primary_metric"] = experiment.primary_metric
    changed = [name for name, value in kept.items() if given.get(name, value) != value]
    others = experiment.other_metrics
    if not set(others) <= set(given.get("other_metrics", others)):
        changed.append("other_metrics")
    guardrails = given.get("guardrails", experiment.guardrails)
    if any(guardrails.get(name) != limit for name, limit in experiment.guardrails.items()):
        changed.append("guardrails")
    if changed:
        raise ExperimentError(
            f"{experiment.key} has started, so its {changed[0].replace('_', ' ')} cannot change: a "
            "change after a look would make results invalid. Metrics can be added to those that it "
            "has"
        )


def _text(value: object) -> str:
    """Returns a setting as it stands in the text of an event."""
    if isinstance(value, dict):
        return ", ".join(f"{name} ({tolerated:g})" for name, tolerated in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"
