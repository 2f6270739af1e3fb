"""The row of an experiment, its phases and its events, as the changes read and write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff._words.text import Text, joined
from flagstaff.conf import conf
from flagstaff.experiments.allocation import allocate
from flagstaff.experiments.conditions import require_buckets, unknown
from flagstaff.experiments.models import Experiment, ExperimentEvent, Phase, State
from flagstaff.experiments.variants import Variant

Kind = ExperimentEvent.Kind


def find(key: str) -> Experiment:
    """Returns the experiment with this key. Raises UnknownExperimentError. Makes one query."""
    found = Experiment.objects.using(conf.database).filter(key=key).first()
    if found is None:
        raise unknown(key)
    return found


@contextmanager
def locked(key: str) -> Iterator[Experiment]:
    with transaction.atomic(using=conf.database):
        found = Experiment.objects.using(conf.database).select_for_update().filter(key=key).first()
        if found is None:
            raise unknown(key)
        yield found


def stored_allocation(
    before: Sequence[Sequence[Any]], variants: Iterable[Variant], traffic_percent: int
) -> list[list[Any]]:
    variants = list(variants)
    require_buckets(variants, traffic_percent)
    weights = {variant.key: variant.weight for variant in variants}
    ranges = allocate([(owner, number) for owner, number in before], weights, traffic_percent)
    return [[owner, number] for owner, number in ranges]


def weights_message(template: str, variants: Iterable[Variant], traffic_percent: int) -> str:
    texts = [f"{variant.key} {variant.weight}" for variant in variants]
    return Text(template, variants=joined(texts), percent=traffic_percent)


def begin_phase_if_running(experiment: Experiment) -> None:
    if experiment.state == State.RUNNING:
        begin_phase(experiment)
    else:
        experiment.save(using=conf.database)


def begin_phase(experiment: Experiment) -> None:
    """Saves the experiment with a new phase, which begins now by the database's clock."""
    end_phase(experiment)
    experiment.phase += 1
    Phase.objects.using(conf.database).create(
        experiment_id=experiment.pk,
        number=experiment.phase,
        shuffle=experiment.shuffle,
        allocation=experiment.allocation,
    )
    experiment.save(using=conf.database)
    Experiment.objects.using(conf.database).filter(pk=experiment.pk, started_at=None).update(
        started_at=Now()
    )


def end_phase(experiment: Experiment) -> None:
    phases = Phase.objects.using(conf.database).filter(experiment_id=experiment.pk, ended_at=None)
    phases.update(ended_at=Now())


def end(experiment: Experiment, state: State) -> None:
    """Ends the phase now by the database's clock, and saves the experiment with this state."""
    end_phase(experiment)
    experiment.state = state
    Experiment.objects.using(conf.database).filter(pk=experiment.pk).update(ended_at=Now())
    experiment.refresh_from_db(using=conf.database, fields=["ended_at"])
    experiment.save(using=conf.database)


def newest_event(experiment: Experiment) -> int:
    """Returns a number that differs after each change. Makes one query."""
    events = ExperimentEvent.objects.using(conf.database).filter(experiment_id=experiment.pk)
    return events.order_by("-id").values_list("id", flat=True).first() or 0


def record(
    experiment: Experiment,
    kind: ExperimentEvent.Kind,
    message: str,
    before: Mapping[str, Any] | None = None,
) -> None:
    """Stores an event; `before` is what `undo` would restore."""
    ExperimentEvent.objects.using(conf.database).create(
        experiment_id=experiment.pk,
        kind=kind,
        message=str(message),
        before=before,
        reason=current_reason(),
        actor=current_actor(),
    )
