"""Changes of what is measured, and of when there is a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flagstaff._words.text import Text, Value, joined, marked
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.assigning import CANNOT_CHANGE
from flagstaff.experiments.conditions import require_metrics, require_state
from flagstaff.experiments.models import Experiment, Method, State
from flagstaff.experiments.rows import Kind, locked, record

NAMES = {
    "description": marked("description"),
    "owner": marked("owner"),
    "variants": marked("variants"),
    "traffic_percent": marked("traffic percent"),
    "bucket_by": marked("bucket by"),
    "rules": marked("rules"),
    "primary_metric": marked("primary metric"),
    "other_metrics": marked("other metrics"),
    "guardrails": marked("guardrails"),
    "method": marked("method"),
    "planned_units": marked("planned units"),
    "min_days": marked("min days"),
    "min_units": marked("min units"),
    "smallest_effect": marked("smallest effect"),
}
_METHODS = {
    "sequential": marked("sequential"),
    "fixed": marked("fixed"),
}

#: Results would not be valid if these changed after a look.
_FIXED = ("method", "planned_units", "smallest_effect")
#: The columns whose arguments have another name.
_COLUMNS = {"primary": "primary_metric", "others": "other_metrics"}


def set_metrics(  # noqa: PLR0913 (the columns of the analysis)
    key: str,
    *,
    primary: str | None = None,
    others: Sequence[str] | None = None,
    guardrails: Mapping[str, float] | None = None,
    method: Method | str | None = None,
    planned_units: int | None = None,
    min_days: int | None = None,
    min_units: int | None = None,
    smallest_effect: float | None = None,
) -> Experiment:
    """Sets what is measured, and when there is a verdict. None leaves a setting as it is.

    A change after a look would make results invalid. So an experiment that has started keeps its
    method, its planned units, its primary metric, and the other metrics and guardrails that it has;
    metrics can be added. Raises UnknownExperimentError, InvalidExperimentError, or ExperimentError.
    """
    new_settings = given_columns(
        primary=primary,
        others=others,
        guardrails=guardrails,
        method=method,
        planned_units=planned_units,
        min_days=min_days,
        min_units=min_units,
        smallest_effect=smallest_effect,
    )
    with locked(key) as experiment:
        require_state(experiment, CANNOT_CHANGE, State.DRAFT, State.RUNNING, State.STOPPED)
        if not new_settings:
            return experiment
        if experiment.phase:
            _require_same(experiment, new_settings)
        for name, value in new_settings.items():
            setattr(experiment, name, value)
        require_metrics(experiment)
        experiment.save(using=conf.database)
        settings = joined(
            (
                Text("{name} {value}", name=Text(NAMES[name]), value=shown_setting(name, value))
                for name, value in new_settings.items()
            ),
            "; ",
        )
        record(experiment, Kind.EDITED, Text("analysis: {settings}", settings=settings))
        return experiment


def given_columns(**given: Any) -> dict[str, Any]:
    """Returns the arguments that are not None, by column, as the table stores them."""
    return {
        _COLUMNS.get(name, name): _stored(value)
        for name, value in given.items()
        if value is not None
    }


def _stored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _require_same(experiment: Experiment, new: Mapping[str, Any]) -> None:
    """Raises ExperimentError if the change would make earlier looks invalid."""
    kept = {name: getattr(experiment, name) for name in _FIXED}
    if experiment.primary_metric:
        kept["primary_metric"] = experiment.primary_metric
    changed = [name for name, value in kept.items() if new.get(name, value) != value]
    metrics = experiment.other_metrics
    if not set(metrics) <= set(new.get("other_metrics", metrics)):
        changed.append("other_metrics")
    guardrails = new.get("guardrails", experiment.guardrails)
    if any(guardrails.get(name) != limit for name, limit in experiment.guardrails.items()):
        changed.append("guardrails")
    if changed:
        setting = Text(NAMES[changed[0]])
        raise ExperimentError(
            "{key} has started, so its {setting} cannot change: a change after a look would make "
            "results invalid. Metrics can be added to those that it has",
            key=experiment.key,
            setting=setting,
        )


def shown_setting(name: str, value: Any) -> Value:
    """Returns a setting as the message of an event shows it."""
    if name == "method":
        return Text(_METHODS[value])
    if name == "guardrails":
        # 0 instead of 0.0.
        value = [
            Text("{metric} ({tolerated})", metric=name, tolerated=value[name] or 0)
            for name in value
        ]
    if value in ("", [], None):
        return Text("none")
    setting: Value = joined(value) if isinstance(value, list) else value
    return setting
