"""Changes of who gets which variant: weights, the share that takes part, shuffles, forced units."""

from __future__ import annotations

from collections.abc import Mapping

from flagstaff._core import MAX_UNIT_BYTES
from flagstaff._words.text import Text, marked
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.conditions import (
    require_no_report,
    require_no_variant_ends,
    require_percent,
    require_state,
    unknown_variant,
    with_weights,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.rows import (
    Kind,
    begin_phase_if_running,
    locked,
    record,
    stored_allocation,
    weights_message,
)
from flagstaff.experiments.variants import valid_variants, variants_as_json, variants_of

_WEIGHTS = marked("weights: {variants}; {percent} % of all units take part")
CANNOT_CHANGE = marked("{key} cannot be changed, because it is {state}")
_CANNOT_SHUFFLE = marked("{key} cannot be shuffled, because it is {state}")


def set_weights(
    key: str,
    weights: Mapping[str, int] | None = None,
    *,
    traffic_percent: int | None = None,
) -> Experiment:
    """Changes the weights of variants, the share of units that take part, or both.

    Begins a new phase while the experiment runs, because a report must not mix phases. No more
    units than necessary get another variant. Raises UnknownExperimentError,
    InvalidExperimentError, or ExperimentError if the experiment was shipped or has only its stored
    report.
    """
    with locked(key) as experiment:
        require_state(experiment, CANNOT_CHANGE, State.DRAFT, State.RUNNING, State.STOPPED)
        require_no_report(experiment)
        before = variants_of(experiment.variants)
        variants = valid_variants(with_weights(experiment, weights or {}))
        traffic = experiment.traffic_percent if traffic_percent is None else traffic_percent
        require_percent(traffic)
        if variants == before and traffic == experiment.traffic_percent:
            return experiment
        require_no_variant_ends(experiment, before, variants)
        experiment.allocation = stored_allocation(experiment.allocation, variants, traffic)
        experiment.variants, experiment.traffic_percent = variants_as_json(variants), traffic
        begin_phase_if_running(experiment)
        message = weights_message(_WEIGHTS, variants, traffic)
        record(experiment, Kind.WEIGHTS, message)
        return experiment


def shuffle(key: str) -> Experiment:
    """Gives all units other buckets, so that what one has met before does not matter.

    The exposures so far are no longer part of the report. Raises UnknownExperimentError, or
    ExperimentError if the experiment was shipped or has only its stored report.
    """
    with locked(key) as experiment:
        require_state(experiment, _CANNOT_SHUFFLE, State.DRAFT, State.RUNNING, State.STOPPED)
        require_no_report(experiment)
        experiment.shuffle += 1
        begin_phase_if_running(experiment)
        record(
            experiment,
            Kind.SHUFFLED,
            Text(
                "shuffled ({number}): the exposures so far are no longer reported",
                number=experiment.shuffle,
            ),
        )
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
