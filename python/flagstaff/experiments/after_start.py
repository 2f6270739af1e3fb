"""What may change after the start without making results invalid: more traffic, one more metric.

Forced units, too, which are never analysed.
"""

from __future__ import annotations

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff._words.text import Text, marked
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments.conditions import (
    require_metrics,
    require_no_report,
    require_percent,
    require_state,
    unknown_variant,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.rows import Kind, database_time, locked, record
from flagstaff.experiments.variants import variants_of

_CANNOT_GROW = marked("the traffic of {key} cannot grow, because it is {state}")
_CANNOT_ADD = marked("{key} gets no more metrics, because it is {state}")


def grow(key: str, traffic_percent: int) -> Experiment:
    """Lets more units take part. No unit gets another variant, and the ratio stays.

    So the results stay valid, also if the results so far are the reason. Raises
    UnknownExperimentError, InvalidExperimentError, or ExperimentError for less traffic, for a
    draft, and if the experiment was shipped or has only its stored report.
    """
    require_percent(traffic_percent)
    with locked(key) as experiment:
        require_state(experiment, _CANNOT_GROW, State.RUNNING, State.STOPPED)
        require_no_report(experiment)
        before = experiment.traffic_percent
        if traffic_percent < before:
            raise ExperimentError(
                "the traffic of {key} is {percent} % and can only grow, because units would leave "
                "the experiment; restart it with less traffic",
                key=key,
                percent=before,
            )
        if traffic_percent > before:
            experiment.traffic_percent = traffic_percent
            experiment.save(using=conf.database)
            text = Text("traffic: {old} % → {new} %", old=before, new=traffic_percent)
            record(experiment, Kind.GROWN, text)
        return experiment


def add_metric(key: str, metric: str, *, tolerated: float | None = None) -> Experiment:
    """Measures one more metric, of units that are exposed from now on; `tolerated` for a guardrail.

    So it does not matter what the metric would have shown before. It is never the primary one, and
    cannot be removed: it counts in Holm's correction, so the corrected p values of the other
    metrics rise. Raises UnknownExperimentError, InvalidExperimentError, or ExperimentError for a
    draft, and if the experiment was shipped or has only its stored report.
    """
    with locked(key) as experiment:
        require_state(experiment, _CANNOT_ADD, State.RUNNING, State.STOPPED)
        require_no_report(experiment)
        if metric in {experiment.primary_metric, *experiment.other_metrics, *experiment.guardrails}:
            raise InvalidExperimentError("{key} measures {metric} already", key=key, metric=metric)
        if tolerated is None:
            experiment.other_metrics = [*experiment.other_metrics, metric]
        else:
            experiment.guardrails = {**experiment.guardrails, metric: tolerated}
        require_metrics(experiment)
        at = aware(database_time(experiment)).isoformat()
        experiment.added_metrics = {**experiment.added_metrics, metric: at}
        experiment.save(using=conf.database)
        text = Text("added the metric {metric}: units exposed from now on count", metric=metric)
        record(experiment, Kind.EDITED, text)
        return experiment


def force(key: str, unit: str, variant: str | None) -> Experiment:
    """Gives a unit this variant while the experiment runs, or with None what its bucket says.

    A forced unit is not recorded. Raises UnknownExperimentError or InvalidExperimentError.
    """
    if variant is not None:
        _require_unit(unit)
    with locked(key) as experiment:
        keys = [one.key for one in variants_of(experiment.variants)]
        if variant is not None and variant not in keys:
            raise unknown_variant(experiment, variant)
        experiment.overrides.pop(unit, None)
        message = Text("override: {unit} gets what its bucket says", unit=unit)
        if variant is not None:
            experiment.overrides[unit] = variant
            message = Text("override: {unit} gets {variant}", unit=unit, variant=variant)
        experiment.save(using=conf.database)
        record(experiment, Kind.EDITED, message)
        return experiment


def _require_unit(unit: str) -> None:
    """Raises InvalidExperimentError for a text that no unit has."""
    size = len(unit.encode(errors="replace"))
    if not 0 < size <= MAX_UNIT_BYTES or "\0" in unit:
        raise InvalidExperimentError(
            "{unit} is no unit; write 1 to {limit} bytes, such as the primary key of a user",
            unit=repr(unit[:40]),
            limit=MAX_UNIT_BYTES,
        )
