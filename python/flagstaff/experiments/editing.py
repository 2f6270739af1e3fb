"""Edits of an experiment that has not started."""

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
    require_forced_variants,
    require_metrics,
    require_possible,
    require_state,
    require_valid,
)
from flagstaff.experiments.metric_settings import NAMES, given_columns, shown_setting
from flagstaff.experiments.models import Experiment, Method, State
from flagstaff.experiments.rows import Kind, locked, record, stored_allocation
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of

_CANNOT_EDIT = marked(
    "{key} cannot be edited, because it is {state}. Its weights and traffic can be changed, and "
    "metrics added; for anything else, create another experiment"
)


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
    method: Method | str | None = None,
    planned_units: int | None = None,
    min_days: int | None = None,
    min_units: int | None = None,
    smallest_effect: float | None = None,
) -> Experiment:
    """Changes a draft. None leaves a setting as it is; the event has the old and the new values.

    The arguments are those of `create` and `set_metrics`. Variants replace all that there are.
    Raises UnknownExperimentError, InvalidExperimentError, also for a segment that does not exist,
    or ExperimentError if the experiment has started.
    """
    given = given_columns(
        description=description,
        owner=owner,
        variants=None if variants is None else variants_as_json(valid_variants(variants)),
        traffic_percent=traffic_percent,
        bucket_by=bucket_by,
        rules=rules,
        primary=primary,
        others=others,
        guardrails=guardrails,
        method=method,
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
            require_state(experiment, _CANNOT_EDIT, State.DRAFT)
            old = {name: getattr(experiment, name) for name in given}
            new = {name: one for name, one in given.items() if one != old[name]}
            require_possible(new.get("rules", []), old.get("rules"))
            if new:
                _write(experiment, new)
                record(
                    experiment,
                    Kind.EDITED,
                    Text("edited: {changes}", changes=joined([*_changes(old, new)], "; ")),
                )
            return experiment


def _write(experiment: Experiment, new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        setattr(experiment, name, value)
    require_valid(
        experiment.key, experiment.traffic_percent, experiment.bucket_by, experiment.rules
    )
    require_metrics(experiment)
    require_forced_variants(experiment)
    if not new.keys().isdisjoint({"variants", "traffic_percent"}):
        experiment.allocation = stored_allocation(
            [], variants_of(experiment.variants), experiment.traffic_percent
        )
    experiment.save(using=conf.database)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Text]:
    for name, value in new.items():
        yield Text(
            "{name}: {old} → {new}",
            name=Text(NAMES[name]),
            old=_shown(name, old[name]),
            new=_shown(name, value),
        )


def _shown(name: str, value: Any) -> Value:
    if name == "variants":
        value = [f"{one.key} {one.weight}" for one in variants_of(value)]
    elif name == "rules" and value:
        # A sentence would be in the language of the actor.
        value = truncated(json.dumps(value, ensure_ascii=False), MAX_VALUE)
    return shown_setting(name, value)
