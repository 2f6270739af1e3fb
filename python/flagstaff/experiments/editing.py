"""The settings of an experiment: edits of a draft, and a restart, which may change the variants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction

from flagstaff._words.text import MAX_VALUE, Text, Value, joined, marked, truncated
from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.conditions import (
    require_exposures,
    require_forced_variants,
    require_metrics,
    require_no_report,
    require_possible,
    require_state,
    require_valid,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.rows import Kind, begin_run, locked, record
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of

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
_CANNOT_EDIT = marked(
    "{key} cannot be edited, because it is {state}. Its traffic can grow, and metrics can be "
    "added; for other variants, restart it; for anything else, create another experiment"
)
_CANNOT_RESTART = marked("{key} cannot be restarted, because it is {state}")


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
    given = {
        "description": description,
        "owner": owner,
        "variants": None if variants is None else variants_as_json(valid_variants(variants)),
        "traffic_percent": traffic_percent,
        "bucket_by": bucket_by,
        "rules": None if rules is None else list(rules),
        "primary_metric": primary,
        "other_metrics": None if others is None else list(others),
        "guardrails": None if guardrails is None else dict(guardrails),
        "planned_units": planned_units,
        "min_days": min_days,
        "min_units": min_units,
        "smallest_effect": smallest_effect,
    }
    with transaction.atomic(using=conf.database):
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_segment(given["rules"] or [], lock=True):
            raise InvalidExperimentError(problem)
        with locked(key) as experiment:
            require_state(experiment, _CANNOT_EDIT, State.DRAFT)
            changes = _set(experiment, given)
            if changes:
                experiment.save(using=conf.database)
                text = Text("edited: {changes}", changes=joined(changes, "; "))
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
    given = {
        "variants": None if variants is None else variants_as_json(valid_variants(variants)),
        "traffic_percent": traffic_percent,
    }
    with transaction.atomic(using=conf.database), locked(key) as experiment:
        require_state(experiment, _CANNOT_RESTART, State.RUNNING, State.STOPPED)
        require_exposures(experiment)
        require_no_report(experiment)
        changes = _set(experiment, given)
        experiment.run += 1
        begin_run(experiment)
        text = Text("restarted: the exposures so far are no longer reported")
        if changes:
            text = Text("{text}; {changes}", text=text, changes=joined(changes, "; "))
        record(experiment, Kind.RESTARTED, text)
        return experiment


def _set(experiment: Experiment, given: Mapping[str, Any]) -> list[Text]:
    """Sets the columns that are given and differ, and returns what changes."""
    old = {name: getattr(experiment, name) for name in given}
    new = {name: value for name, value in given.items() if value is not None and value != old[name]}
    require_possible(new.get("rules", []), old.get("rules"))
    for name, value in new.items():
        setattr(experiment, name, value)
    require_valid(
        experiment.key, experiment.traffic_percent, experiment.bucket_by, experiment.rules
    )
    require_metrics(experiment)
    require_forced_variants(experiment)
    return list(_changes(old, new))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Text]:
    for name, value in new.items():
        yield Text(
            "{name}: {old} → {new}",
            name=Text(_NAMES[name]),
            old=_shown(name, old[name]),
            new=_shown(name, value),
        )


def _shown(name: str, value: Any) -> Value:
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
    if value in ("", [], None):
        return Text("none")
    shown: Value = joined(value) if isinstance(value, list) else value
    return shown
