"""Takes back a stop or a ship of an experiment: the state before, with all exposures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from flagstaff._words.text import Text, marked
from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.conditions import require_exposures
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.rows import Kind, find, locked, record, set_state

_RUNS_AGAIN = marked("it runs with all exposures")
_RUNS_WITHOUT_REPORT = marked("it runs with all exposures; the stored report was removed")
_CANNOT_UNDO = marked(
    "{key} cannot be undone: only a stop or a ship can, but the last change is “{what}”. Start, "
    "stop or ship it instead"
)

#: What can be undone, and what undo would overwrite. Other events change neither state nor units.
_DECISIONS = {Kind.STOPPED, Kind.SHIPPED}
_CONFLICTS = {Kind.CREATED, Kind.STARTED, Kind.RESTARTED}


def undo(key: str) -> Experiment:
    """Takes back the last stop or ship: the experiment is as before, with all its exposures.

    A report that the ship has stored is removed. Another call takes back the stop or ship before
    that. Raises UnknownExperimentError, or ExperimentError if the experiment was started or
    restarted since, if its exposures were deleted, or if a segment of its rules is missing.
    """
    with transaction.atomic(using=conf.database):
        # Segments are locked before experiments.
        problem = missing_segment(find(key).rules, lock=True)
        with locked(key) as experiment:
            event = last_decision(experiment)
            had_report = experiment.frozen_report is not None
            if event.before["state"] == State.RUNNING:
                require_exposures(experiment)
                if problem:
                    raise ExperimentError(problem)
            _restore(experiment, event.before)
            now = _state_message(experiment, lost_report=had_report)
            record(
                experiment,
                Kind.UNDONE,
                Text("undone: “{what}”; {now}", what=event.message, now=now),
            )
            return experiment


def last_decision(experiment: Experiment) -> ExperimentEvent:
    """Returns the stop or the ship that `undo` would take back. Makes one query.

    Its `before` has the `state` and the `winner` that would be restored. Raises ExperimentError if
    nothing can be undone.
    """
    events = ExperimentEvent.objects.using(conf.database).filter(experiment_id=experiment.pk)
    undone = 0
    for event in events.order_by("-id"):
        if event.kind == Kind.UNDONE:
            undone += 1
        elif event.kind in _CONFLICTS:
            raise ExperimentError(_CANNOT_UNDO, key=experiment.key, what=event.message)
        elif event.kind in _DECISIONS:
            if not undone:
                return event
            undone -= 1
    raise ExperimentError(_CANNOT_UNDO, key=experiment.key, what=Text("none"))


def earlier_state(experiment: Experiment) -> dict[str, Any]:
    """Returns what an event of a stop or a ship stores, so that it can be undone."""
    ended_at = experiment.ended_at
    return {
        "state": experiment.state,
        "winner": experiment.winner,
        "ended_at": ended_at and ended_at.isoformat(),
        "has_report": experiment.frozen_report is not None,
    }


def _restore(experiment: Experiment, before: dict[str, Any]) -> None:
    experiment.winner = before["winner"]
    if not before["has_report"] and experiment.exposures_deleted_at is None:
        experiment.frozen_report = None
    ended_at = before["ended_at"] and datetime.fromisoformat(before["ended_at"])
    set_state(experiment, before["state"], ended_at)


def _state_message(experiment: Experiment, *, lost_report: bool) -> str:
    if experiment.state == State.RUNNING:
        return Text(_RUNS_WITHOUT_REPORT if lost_report else _RUNS_AGAIN)
    if experiment.state == State.SHIPPED:
        return Text("all units get {variant}", variant=experiment.winner)
    return Text("every call returns its default")
