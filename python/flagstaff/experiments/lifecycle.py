"""What a person does with an experiment: create, start, stop, delete. `shipping` ends it.

Each function locks the experiment, and is one transaction or part of the surrounding one.
`acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments import messages
from flagstaff.experiments.conditions import require_free, require_state, require_valid
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.rows import (
    Kind,
    begin_phase,
    end,
    locked,
    record,
    stored_allocation,
    weights_message,
)
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json
from flagstaff.validators import MAX_PERCENT


def create(  # noqa: PLR0913 (the columns of an experiment)
    key: str,
    variants: Iterable[Variant | str] = ("control", "treatment"),
    *,
    traffic_percent: int = MAX_PERCENT,
    bucket_by: str = "user",
    rules: Sequence[Mapping[str, Any]] = (),
    description: str = "",
    owner: str = "",
) -> Experiment:
    """Creates an experiment that has not started. Every call returns its default until then.

    Variants are texts such as "control" or "treatment:3", the control first. Raises
    InvalidExperimentError, also for the key of a flag or of another experiment, and for a segment
    that does not exist.
    """
    given = valid_variants(variants)
    require_valid(key, traffic_percent, bucket_by, rules)
    experiment = Experiment(
        key=key,
        description=description,
        owner=owner,
        variants=variants_as_json(given),
        traffic_percent=traffic_percent,
        allocation=stored_allocation([], given, traffic_percent),
        bucket_by=bucket_by,
        rules=list(rules),
    )
    with transaction.atomic(using=conf.database):
        require_free(key)
        # Locked, so that nobody deletes a segment meanwhile.
        if problem := missing_segment(list(rules), lock=True):
            raise InvalidExperimentError(problem)
        try:
            with transaction.atomic(using=conf.database):
                experiment.save(using=conf.database, force_insert=True)
        except IntegrityError as error:
            raise InvalidExperimentError(messages.EXISTS(key=key)) from error
        message = weights_message(messages.CREATED, given, traffic_percent)
        record(experiment, Kind.CREATED, message)
    return experiment


def start(key: str) -> Experiment:
    """Starts a draft, or an experiment that was stopped. Units get variants from now on.

    Raises UnknownExperimentError, or ExperimentError if it runs or was shipped.
    """
    with locked(key) as experiment:
        require_state(experiment, messages.CANNOT_START, State.DRAFT, State.STOPPED)
        if experiment.frozen_report is not None:
            raise ExperimentError(messages.EXPOSURES_DELETED(key=key))
        experiment.state, experiment.ended_at = State.RUNNING, None
        begin_phase(experiment)
        record(experiment, Kind.STARTED, messages.STARTED(number=experiment.phase))
        return experiment


def stop(key: str) -> Experiment:
    """Stops a running experiment: every call returns its default, and no unit is recorded.

    Raises UnknownExperimentError, or ExperimentError if it does not run.
    """
    with locked(key) as experiment:
        require_state(experiment, messages.CANNOT_STOP, State.RUNNING)
        end(experiment, State.STOPPED)
        record(experiment, Kind.STOPPED, messages.STOPPED())
        return experiment


def delete(key: str) -> None:
    """Deletes an experiment with its exposures and events. Every call returns its default.

    Raises UnknownExperimentError, or ExperimentError while it runs.
    """
    with locked(key) as experiment:
        require_state(experiment, messages.CANNOT_DELETE, State.DRAFT, State.STOPPED, State.SHIPPED)
        experiment.delete(using=conf.database)
