"""The settings of an experiment: a draft's, those of a restart, and what grows after the start."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff._words.text import MAX_VALUE, Text, Value, joined, marked, truncated
from flagstaff._words.times import aware
from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments.conditions import (
    require_forced_variants,
    require_metrics,
    require_now,
    require_percent,
    require_possible,
    require_valid,
    require_variant,
)
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.rows import Kind, begin_run, database_time, locked, record
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of

# Arguments that are not called like their column.
_COLUMNS = {"primary": "primary_metric", "others": "other_metrics"}
_NAMES = {
    "description": marked("description"),
    "owner": marked("owner"),
    "variants": marked("variants"),
    "traffic_percent": marked("traffic percent"),
    "bucket_by": marked("bucket by"),
    "rules": marked("rules"),
    "primary_metric": marked("primary metric"),
    "other_metrics": marked("other metrics"),
    "guardrails": marked("guardrails"),
    "planned_units": marked("planned units"),
    "min_days": marked("min days"),
    "min_units": marked("min units"),
    "smallest_effect": marked("smallest effect"),
}


def edit(  # noqa: PLR0913 (the columns of an experiment)
    key: str,
    *,
    description: str | None = None,
    owner: str | None = None,
    variants: Iterable[Variant | str] | None = None,
    traffic_percent: int | None = None,
    bucket_by: str | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    primary: str | None = None,
    others: Sequence[str] | None = None,
    guardrails: Mapping[str, float] | None = None,
    planned_units: int | None = None,
    min_days: int | None = None,
    min_units: int | None = None,
    smallest_effect: float | None = None,
) -> Experiment:
    """Changes a draft. None leaves a setting as it is; the event has the old and the new values.

    Variants, other metrics and guardrails replace all that there are. Raises
    UnknownExperimentError, InvalidExperimentError, also for a segment that does not exist, or
    ExperimentError if the experiment has started.
    """
    given = columns_of(
        description=description,
        owner=owner,
        variants=variants,
        traffic_percent=traffic_percent,
        bucket_by=bucket_by,
        rules=rules,
        primary=primary,
        others=others,
        guardrails=guardrails,
        planned_units=planned_units,
        min_days=min_days,
        min_units=min_units,
        smallest_effect=smallest_effect,
    )
    with transaction.atomic(using=conf.database):
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_segment(given.get("rules", []), lock=True):
            raise InvalidExperimentError(problem)
        with locked(key) as experiment:
            require_now(experiment, "edit")
            changes = set_columns(experiment, given)
            if changes:
                experiment.save(using=conf.database)
                text = Text("edited: {changes}", changes=_changes_text(changes))
                record(experiment, Kind.EDITED, text)
            return experiment


def restart(
    key: str,
    *,
    variants: Iterable[Variant | str] | None = None,
    traffic_percent: int | None = None,
) -> Experiment:
    """Begins a new run: all units get other buckets, so what one has met before does not matter.

    The exposures so far are no longer part of the report. Also the way to other weights, another
    variant or less traffic. Raises UnknownExperimentError, InvalidExperimentError, or
    ExperimentError if the experiment is a draft, was shipped, or has only its stored report.
    """
    given = columns_of(variants=variants, traffic_percent=traffic_percent)
    with transaction.atomic(using=conf.database), locked(key) as experiment:
        require_now(experiment, "restart")
        changes = set_columns(experiment, given)
        experiment.run += 1
        begin_run(experiment)
        text = Text("restarted: the exposures so far are no longer reported")
        if changes:
            text = Text("{text}; {changes}", text=text, changes=_changes_text(changes))
        record(experiment, Kind.RESTARTED, text)
        return experiment


# What may change after the start without making results invalid; forced units are not analysed.


def grow(key: str, traffic_percent: int) -> Experiment:
    """Lets more units take part. No unit gets another variant, and the ratio stays.

    So the results stay valid, also if the results so far are the reason. Raises
    UnknownExperimentError, InvalidExperimentError, or ExperimentError for less traffic, for a
    draft, and if the experiment was shipped or has only its stored report.
    """
    require_percent(traffic_percent)
    with locked(key) as experiment:
        require_now(experiment, "grow")
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
        require_now(experiment, "add-metric")
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

    A forced unit is not recorded. Raises UnknownExperimentError, InvalidExperimentError, or
    ExperimentError if the experiment was shipped.
    """
    if variant is not None:
        _require_unit(unit)
    with locked(key) as experiment:
        require_now(experiment, "force")
        if variant is not None:
            require_variant(experiment, variant)
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


# Settings, and what changes.


@dataclass(frozen=True)
class SettingChange:
    """A setting with its value before and after an edit, as texts."""

    column: str
    old: Value
    new: Value

    @property
    def name(self) -> Text:
        """What the column is called."""
        return Text(_NAMES[self.column])


def columns_of(**settings: Any) -> dict[str, Any]:
    """Returns the columns of the arguments of `edit` that are not None."""
    found = {
        _COLUMNS.get(name, name): list(value) if isinstance(value, (list, tuple)) else value
        for name, value in settings.items()
        if value is not None
    }
    if "variants" in found:
        found["variants"] = variants_as_json(valid_variants(found["variants"]))
    return found


def set_columns(experiment: Experiment, given: Mapping[str, Any]) -> list[SettingChange]:
    """Sets the columns that differ, and returns what changes. Writes nothing.

    Raises InvalidExperimentError.
    """
    old = {name: getattr(experiment, name) for name in given}
    new = {name: value for name, value in given.items() if value != old[name]}
    require_possible(new.get("rules", []), old.get("rules"))
    for name, value in new.items():
        setattr(experiment, name, value)
    require_valid(
        experiment.key, experiment.traffic_percent, experiment.bucket_by, experiment.rules
    )
    require_metrics(experiment)
    require_forced_variants(experiment)
    return [
        SettingChange(name, _shown(name, old[name]), _shown(name, value))
        for name, value in new.items()
    ]


def _changes_text(changes: Iterable[SettingChange]) -> Text:
    texts = (
        Text("{name}: {old} → {new}", name=one.name, old=one.old, new=one.new) for one in changes
    )
    return joined(texts, "; ")


def _shown(name: str, value: Any) -> Value:
    """Returns a setting in one line."""
    if value in ("", [], {}, None):
        return Text("none")
    if name == "variants":
        value = [f"{one.key} {one.weight}" for one in variants_of(value)]
    elif name == "guardrails":
        # 0 instead of 0.0.
        value = [
            Text("{metric} ({tolerated})", metric=metric, tolerated=value[metric] or 0)
            for metric in value
        ]
    elif name == "rules" and value:
        # A sentence would be in the language of the actor.
        value = truncated(json.dumps(value, ensure_ascii=False), MAX_VALUE)
    shown: Value = joined(value) if isinstance(value, list) else value
    return shown
