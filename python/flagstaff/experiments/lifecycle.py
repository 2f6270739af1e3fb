"""What a person does with an experiment: create, start, change weights, shuffle, force, stop, ship.

Each function locks the experiment, and is one transaction or part of the surrounding one.
`acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ExperimentError,
    InvalidExperimentError,
)
from flagstaff.experiments.allocation import allocate, shares
from flagstaff.experiments.conditions import (
    require_free,
    require_metrics,
    require_percent,
    require_state,
    require_valid,
    unknown,
    unknown_variant,
    with_weights,
)
from flagstaff.experiments.models import Experiment, ExperimentEvent, Method, Phase, State
from flagstaff.experiments.variants import (
    Variant,
    valid_variants,
    variants_as_json,
    variants_of,
)
from flagstaff.validators import MAX_PERCENT

__all__ = [
    "create",
    "delete",
    "find",
    "force",
    "set_metrics",
    "set_weights",
    "ship",
    "shuffle",
    "start",
    "stop",
]

Kind = ExperimentEvent.Kind
#: What a plan for results at every look depends on.
_FIXED = ("method", "planned_users")


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
    """Creates an experiment that has not started. Every call gets its default until then.

    Variants are texts such as "control" or "treatment:3", the control first. Raises
    InvalidExperimentError, also for the key of a flag or of another experiment.
    """
    given = valid_variants(variants)
    require_valid(key, traffic_percent, bucket_by, rules)
    experiment = Experiment(
        key=key,
        description=description,
        owner=owner,
        variants=variants_as_json(given),
        traffic_percent=traffic_percent,
        allocation=_allocation([], given, traffic_percent),
        bucket_by=bucket_by,
        rules=list(rules),
    )
    with transaction.atomic(using=conf.database):
        require_free(key)
        try:
            with transaction.atomic(using=conf.database):
                experiment.save(using=conf.database, force_insert=True)
        except IntegrityError as error:
            raise InvalidExperimentError(f"there is an experiment {key} already") from error
        _record(experiment, Kind.CREATED, f"created with {_weights_text(given, traffic_percent)}")
    return experiment


def start(key: str) -> Experiment:
    """Starts a draft, or an experiment that was stopped. Units get variants from now on.

    Raises UnknownExperimentError, or ExperimentError if it runs or was shipped.
    """
    with _locked(key) as experiment:
        require_state(experiment, "started", State.DRAFT, State.STOPPED)
        experiment.state, experiment.ended_at = State.RUNNING, None
        _begin_phase(experiment)
        _record(experiment, Kind.STARTED, f"started in phase {experiment.phase}")
        return experiment


def set_weights(
    key: str,
    weights: Mapping[str, int] | None = None,
    *,
    traffic_percent: int | None = None,
) -> Experiment:
    """Changes the weights of variants, the share of units that take part, or both.

    Begins a new phase while the experiment runs, because a report must not mix phases. No more
    units than necessary get another variant. Raises UnknownExperimentError,
    InvalidExperimentError, or ExperimentError if the experiment was shipped.
    """
    with _locked(key) as experiment:
        require_state(experiment, "changed", State.DRAFT, State.RUNNING, State.STOPPED)
        before = variants_of(experiment.variants)
        variants = valid_variants(with_weights(before, weights or {}))
        traffic = experiment.traffic_percent if traffic_percent is None else traffic_percent
        require_percent(traffic)
        if variants == before and traffic == experiment.traffic_percent:
            return experiment
        experiment.allocation = _allocation(experiment.allocation, variants, traffic)
        experiment.variants, experiment.traffic_percent = variants_as_json(variants), traffic
        _begin_phase_if_running(experiment)
        _record(experiment, Kind.WEIGHTS, f"weights: {_weights_text(variants, traffic)}")
        return experiment


def shuffle(key: str) -> Experiment:
    """Gives all units other buckets, so that what one has met before does not matter.

    The exposures so far are no longer part of the report. Raises UnknownExperimentError, or
    ExperimentError if the experiment was shipped.
    """
    with _locked(key) as experiment:
        require_state(experiment, "shuffled", State.DRAFT, State.RUNNING, State.STOPPED)
        experiment.shuffle += 1
        _begin_phase_if_running(experiment)
        text = f"shuffled ({experiment.shuffle}): the exposures so far are no longer reported"
        _record(experiment, Kind.SHUFFLED, text)
        return experiment


def force(key: str, unit: str, variant: str | None) -> Experiment:
    """Gives a unit this variant while the experiment runs, or with None what its bucket says.

    A forced unit is not recorded. Raises UnknownExperimentError or InvalidExperimentError.
    """
    with _locked(key) as experiment:
        keys = [one.key for one in variants_of(experiment.variants)]
        if variant is not None and variant not in keys:
            raise unknown_variant(experiment, variant)
        forced = {one: given for one, given in experiment.overrides.items() if one != unit}
        experiment.overrides = forced if variant is None else {**forced, unit: variant}
        experiment.save(using=conf.database)
        what = f"{unit} gets {variant}" if variant else f"{unit} gets what its bucket says"
        _record(experiment, Kind.EDITED, f"override: {what}")
        return experiment


def stop(key: str) -> Experiment:
    """Stops a running experiment: every call gets its default, and nobody is recorded.

    Raises UnknownExperimentError, or ExperimentError if it does not run.
    """
    with _locked(key) as experiment:
        require_state(experiment, "stopped", State.RUNNING)
        _end(experiment, State.STOPPED)
        _record(experiment, Kind.STOPPED, "stopped: every call gets its default")
        return experiment


def ship(key: str, winner: str) -> Experiment:
    """Gives everyone this variant from now on. Nobody is recorded any more.

    Raises UnknownExperimentError, InvalidExperimentError for an unknown variant, or ExperimentError
    if the experiment has not started or was shipped.
    """
    with _locked(key) as experiment:
        require_state(experiment, "shipped", State.RUNNING, State.STOPPED)
        if winner not in [one.key for one in variants_of(experiment.variants)]:
            raise unknown_variant(experiment, winner)
        experiment.winner = winner
        _end(experiment, State.SHIPPED)
        _record(experiment, Kind.SHIPPED, f"shipped: everyone gets {winner}")
        return experiment


def set_metrics(  # noqa: PLR0913 (the columns of the analysis)
    key: str,
    *,
    primary: str | None = None,
    others: Sequence[str] | None = None,
    guardrails: Mapping[str, float] | None = None,
    method: Method | None = None,
    planned_users: int | None = None,
    min_days: int | None = None,
    min_users: int | None = None,
) -> Experiment:
    """Sets what is measured, and when there is a verdict. None leaves a setting as it is.

    The plan of a sequential analysis must not change after the first look, so a running experiment
    keeps its method and its planned users. Raises UnknownExperimentError, InvalidExperimentError,
    or ExperimentError.
    """
    changes = {
        "primary_metric": primary,
        "other_metrics": None if others is None else list(others),
        "guardrails": None if guardrails is None else dict(guardrails),
        "method": method,
        "planned_users": planned_users,
        "min_days": min_days,
        "min_users": min_users,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    with _locked(key) as experiment:
        if experiment.phase and (fixed := [name for name in _FIXED if name in given]):
            raise ExperimentError(
                f"{key} has started, so its {fixed[0].replace('_', ' ')} cannot change any more: a "
                "change after a look would make results invalid"
            )
        for name, value in given.items():
            setattr(experiment, name, value)
        require_metrics(experiment)
        experiment.save(using=conf.database)
        text = ", ".join(f"{name} {value}" for name, value in given.items())
        _record(experiment, Kind.EDITED, f"analysis: {text}")
        return experiment


def delete(key: str) -> None:
    """Deletes an experiment with its exposures and events. Every call gets its default.

    Raises UnknownExperimentError, or ExperimentError while it runs.
    """
    with _locked(key) as experiment:
        require_state(experiment, "deleted", State.DRAFT, State.STOPPED, State.SHIPPED)
        experiment.delete(using=conf.database)


def find(key: str) -> Experiment:
    """Returns the experiment with this key. Raises UnknownExperimentError. Makes one query."""
    found = Experiment.objects.using(conf.database).filter(key=key).first()
    if found is None:
        raise unknown(key)
    return found


@contextmanager
def _locked(key: str) -> Iterator[Experiment]:
    with transaction.atomic(using=conf.database):
        found = Experiment.objects.using(conf.database).select_for_update().filter(key=key).first()
        if found is None:
            raise unknown(key)
        yield found


def _allocation(
    before: Sequence[Sequence[Any]], variants: Iterable[Variant], traffic_percent: int
) -> list[list[Any]]:
    weights = {variant.key: variant.weight for variant in variants}
    ranges = allocate([(owner, number) for owner, number in before], weights, traffic_percent)
    return [[owner, number] for owner, number in ranges]


def _weights_text(variants: Iterable[Variant], traffic_percent: int) -> str:
    text = ", ".join(f"{variant.key} {variant.weight}" for variant in variants)
    return f"{text}; {traffic_percent} % of all units take part"


def _begin_phase_if_running(experiment: Experiment) -> None:
    if experiment.state == State.RUNNING:
        _begin_phase(experiment)
    else:
        experiment.save(using=conf.database)


def _begin_phase(experiment: Experiment) -> None:
    """Saves the experiment with a new phase, which begins now by the database's clock."""
    _end_phase(experiment)
    experiment.phase += 1
    Phase.objects.using(conf.database).create(
        experiment_id=experiment.pk,
        number=experiment.phase,
        shuffle=experiment.shuffle,
        shares=shares([(owner, number) for owner, number in experiment.allocation]),
    )
    experiment.save(using=conf.database)
    Experiment.objects.using(conf.database).filter(pk=experiment.pk, started_at=None).update(
        started_at=Now()
    )


def _end_phase(experiment: Experiment) -> None:
    phases = Phase.objects.using(conf.database).filter(experiment_id=experiment.pk, ended_at=None)
    phases.update(ended_at=Now())


def _end(experiment: Experiment, state: State) -> None:
    _end_phase(experiment)
    experiment.state = state
    experiment.save(using=conf.database)
    Experiment.objects.using(conf.database).filter(pk=experiment.pk).update(ended_at=Now())


def _record(experiment: Experiment, kind: ExperimentEvent.Kind, text: str) -> None:
    ExperimentEvent.objects.using(conf.database).create(
        experiment_id=experiment.pk,
        kind=kind,
        text=text,
        reason=current_reason(),
        actor=current_actor(),
    )
