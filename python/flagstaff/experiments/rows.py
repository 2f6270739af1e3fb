"""The row of an experiment and its events, as the changes read and write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from flagstaff._attribution import current_author, current_reason
from flagstaff._tables.database import db
from flagstaff.changes.locking import block_of_change
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.requirements import unknown

Kind = ExperimentEvent.Kind


def find(key: str) -> Experiment:
    """Returns the experiment with this key. Raises UnknownExperimentError. Makes one query."""
    experiment = db.rows(Experiment).filter(key=key).first()
    if experiment is None:
        raise unknown(key)
    return experiment


@contextmanager
def locked(key: str) -> Iterator[Experiment]:
    with block_of_change():
        experiment = db.rows(Experiment).select_for_update().filter(key=key).first()
        if experiment is None:
            raise unknown(key)
        yield experiment


def database_time(experiment: Experiment) -> datetime:
    """Returns the time by the database's clock. Makes one query."""
    rows = db.rows(Experiment).filter(pk=experiment.pk)
    now: datetime = rows.values_list(Now(), flat=True).get()
    return now


def begin_run(experiment: Experiment) -> None:
    """Lets the experiment run from now on, and saves it. All metrics count from now on."""
    experiment.state, experiment.ended_at = State.RUNNING, None
    experiment.started_at = experiment.runs_since = database_time(experiment)
    experiment.added_metrics = {}
    experiment.save(using=db.alias)


def set_state(experiment: Experiment, state: str, ended_at: datetime | None = None) -> None:
    """Saves the experiment with this state: running, or one that has ended, by default now.

    The time for which it ran does not grow while it is stopped.
    """
    now = database_time(experiment)
    end = None if state == State.RUNNING else ended_at or now
    if experiment.runs_since is not None:
        ran_for = (experiment.ended_at or now) - experiment.runs_since
        experiment.runs_since = (end or now) - ran_for
    experiment.state, experiment.ended_at = state, end
    experiment.save(using=db.alias)


def newest_event(experiment: Experiment) -> int:
    """Returns a number that differs after each change. Makes one query."""
    events = db.rows(ExperimentEvent).filter(experiment_id=experiment.pk)
    return events.order_by("-id").values_list("id", flat=True).first() or 0


def events_after(experiment: Experiment, number: int) -> int:
    """Returns how many changes there were after the one with this number. Makes one query."""
    events = db.rows(ExperimentEvent).filter(experiment_id=experiment.pk)
    return events.filter(id__gt=number).count()


def record(
    experiment: Experiment,
    kind: ExperimentEvent.Kind,
    message: str,
    before: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Stores an event; `before` is what `undo` would restore, `fields` others than the present."""
    author = {"reason": current_reason(), "actor": current_author()}
    db.rows(ExperimentEvent).create(
        experiment_id=experiment.pk,
        kind=kind,
        message=str(message),
        before=before,
        **{**author, **fields},
    )
