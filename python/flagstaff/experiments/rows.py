"""The row of an experiment and its events, as the changes read and write them.

Changes of the flags and segments that the rules need are events, too. They move units into the
experiment and out of it, so its report does not mix the units from before with those from after.
The history says when, also of a change by SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from flagstaff._attribution import current_author, current_reason
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind as RowKind
from flagstaff._text import as_stored, say, some
from flagstaff._text.times import aware
from flagstaff.changes.locking import DECIDING, block_of_change
from flagstaff.changes.rule_use import Name, names_in, read_named
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.requirements import unknown
from flagstaff.history.log import Change, Event, events, has_history

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
        message=as_stored(message),
        before=before,
        **{**author, **fields},
    )


# The changes since the last event that are read.
_MAX_READ = 200


def note_moves(running: Iterable[Experiment]) -> None:
    """Stores an event for each experiment whose needed flags or segments were changed since.

    Its time is that of the newest of these changes. A few queries for each one with such rules.
    """
    for experiment in running if has_history() else ():
        named = {name for name, _place in names_in(experiment.rules)}
        needed = read_named(named)
        since = moved_at(experiment) or experiment.started_at
        if not needed or since is None:
            continue
        changes = [event for event in _changes(needed, since) if _decides(event)]
        if not changes:
            continue
        with locked(experiment.key) as row:
            # Not everybody who sees the experiment may see what its flags and segments need.
            keys = {event.key: None for event in changes if _name(event) in named}
            text = say(
                "changed, and its rules depend on it: {keys}; results count the units from then on",
                keys=some(keys) if keys else say("a flag that another flag or a segment needs"),
            )
            actor = changes[0].actor or ""
            record(row, Kind.MOVED, text, at=changes[0].at, actor=actor, reason="")


def moved_at(experiment: Experiment) -> datetime | None:
    """Returns when what the rules need was changed last in the present run, or None. A query."""
    rows = db.rows(ExperimentEvent).filter(experiment_id=experiment.pk, kind=Kind.MOVED)
    newest = rows.order_by("-at").values_list("at", flat=True).first()
    began = experiment.started_at
    return aware(newest) if newest and began and aware(newest) > aware(began) else None


def _changes(needed: Iterable[tuple[RowKind, str]], since: datetime) -> list[Event]:
    """Returns the changes of rows after a time, the newest first."""
    newer: list[Event] = []
    for kind in RowKind:
        keys = [key for of_kind, key in needed if of_kind is kind]
        entries = Change.objects.filter(relation__in=kind.relations, key__in=keys, at__gt=since)
        newer += events(entries.short().newest()[:_MAX_READ]) if keys else ()
    return sorted(newer, key=lambda event: event.at, reverse=True)


def _name(event: Event) -> Name:
    return RowKind(event.kind), event.key


def _decides(event: Event) -> bool:
    fields = {difference.field for difference in event.differences}
    is_of_users = bool(event.added.count or event.removed.count)
    deciding = DECIDING[RowKind(event.kind)]
    return event.action != "change" or is_of_users or not fields.isdisjoint(deciding)
