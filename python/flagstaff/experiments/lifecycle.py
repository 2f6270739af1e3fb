"""What a person does with an experiment: start, stop, ship, undo, delete.

Each function locks the experiment, and is one transaction or part of the surrounding one.
`acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from datetime import datetime

from flagstaff._attribution import current_actor
from flagstaff._tables.database import db
from flagstaff._text import Sentence, as_stored, joined, say, storable
from flagstaff.changes.rule_use import missing_name
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.reporting import frozen_report, time_as_json
from flagstaff.experiments.requirements import (
    lost_exposures,
    require_columns_of,
    require_now,
    require_variant,
)
from flagstaff.experiments.rows import (
    Kind,
    begin_run,
    database_time,
    find,
    locked,
    newest_event,
    record,
    set_state,
)
from flagstaff.experiments.variants import shares_of
from flagstaff.history.deleted import delete_but_events
from flagstaff.models import WaitingAction

#: The kind of row of what waits for an experiment.
ROW_KIND = "experiment"
_CANNOT_UNDO = say(
    "{key} cannot be undone: only a stop or a ship can, but the last change is “{what}”. Start, "
    "stop or ship it instead"
)
#: What can be undone, and what undo would overwrite. Other events change neither state nor units.
_DECISIONS = {Kind.STOPPED, Kind.SHIPPED}
_CONFLICTS = {Kind.CREATED, Kind.STARTED, Kind.RESTARTED}


def start(key: str) -> Experiment:
    """Starts a draft, or an experiment that was stopped. Units get variants from now on.

    Raises UnknownExperimentError, InvalidExperimentError if a column of a metric has a wrong type,
    or ExperimentError if it runs, is shipped, or has only its stored report.
    """
    present = find(key)
    if present.state == State.DRAFT and not present.problem:
        for metric in present.metrics:
            require_columns_of(metric)
    with locked(key) as experiment:
        require_now(experiment, "start")
        if experiment.state == State.DRAFT:
            begin_run(experiment)
            traffic, shares = experiment.traffic_percent, shares_of(experiment.variants)
            texts = joined(
                f"{variant} {share * traffic:.4g} %" for variant, share in shares.items()
            )
            text = say("started: {variants} of all units", variants=texts)
            record(experiment, Kind.STARTED, text)
        else:
            set_state(experiment, State.RUNNING)
            record(experiment, Kind.STARTED, say("continued with all exposures"))
        return experiment


def stop(key: str) -> Experiment:
    """Stops an experiment, also a shipped one: every call returns its default.

    No unit is recorded. If that is so already, cancels what waits to start it. Raises
    UnknownExperimentError.
    """
    experiment, _cancelled = stopped(key)
    return experiment


def stopped(key: str) -> tuple[Experiment, tuple[int, ...]]:
    """Does the same, and also returns the numbers of what it has cancelled."""
    with locked(key) as experiment:
        if experiment.state in {State.RUNNING, State.SHIPPED}:
            text = say("stopped: every call returns its default")
            _decide(experiment, State.STOPPED, "", Kind.STOPPED, text)
            # What waits is refused after an event.
            return experiment, ()
        waiting = WaitingAction.objects.using(db.alias)
        why = "the experiment was stopped again"
        return experiment, waiting.cancel_giving(ROW_KIND, key, current_actor(), why)


def delete(key: str) -> None:
    """Deletes an experiment with its exposures and report. Its events are kept.

    Every call returns its default.

    Raises UnknownExperimentError, or ExperimentError while it runs.
    """
    with locked(key) as experiment:
        require_now(experiment, "delete")
        text = say("deleted; it was {state}", state=say(experiment.state))
        record(experiment, Kind.DELETED, text)
        now = database_time(experiment)
        delete_but_events(
            experiment,
            ExperimentEvent,
            state=State.STOPPED,
            # SQL may have written the null of JSON, which would be saved as NULL.
            variants=experiment.variants or [],
            started_at=experiment.started_at,
            ended_at=now,
            # So that a worker of any release refuses to start it.
            exposures_deleted_at=now,
        )


def ship(key: str, winner: str) -> Experiment:
    """Gives all units this variant from now on, and freezes the report. No unit is recorded.

    Makes the queries of a report first. If the primary metric or a guardrail fails, no report is
    stored, and the event says why. Raises UnknownExperimentError, InvalidExperimentError for an
    unknown variant, or ExperimentError if the experiment has not started, was shipped, or was
    changed while its report was made.
    """
    present = find(key)
    _require_winner(present, winner)
    last, frozen, why = newest_event(present), None, ""
    if present.frozen_report is None and present.exposures_deleted_at is None:
        # Before the lock: nothing may delay a stop.
        frozen, why = frozen_report(present)
    with locked(key) as experiment:
        _require_winner(experiment, winner)
        if newest_event(experiment) != last:
            raise ExperimentError(
                "{key} was changed while its report was made; ship it again", key=key
            )
        text = say("shipped: all units get {variant}", variant=winner)
        if why:
            why = storable(as_stored(why))
            text = say("{text}; no report is stored: {why}", text=text, why=why)
        _decide(experiment, State.SHIPPED, winner, Kind.SHIPPED, text)
        if frozen is not None:
            frozen["ended_at"] = time_as_json(experiment.ended_at)
            experiment.frozen_report = frozen
            experiment.save(using=db.alias, update_fields=["frozen_report"])
        return experiment


def _require_winner(experiment: Experiment, winner: str) -> None:
    require_now(experiment, "ship")
    require_variant(experiment, winner)


def _decide(experiment: Experiment, state: State, winner: str, kind: Kind, text: Sentence) -> None:
    """Saves a stop or a ship, with what `undo` restores."""
    ended_at = experiment.ended_at
    before = {
        "state": experiment.state,
        "winner": experiment.winner,
        "ended_at": ended_at and ended_at.isoformat(),
        "has_report": experiment.frozen_report is not None,
    }
    experiment.winner = winner
    set_state(experiment, state)
    record(experiment, kind, text, before)


# The way back.


def undo(key: str) -> Experiment:
    """Takes back the last stop or ship: the experiment is as before, with all its exposures.

    A report that the ship has stored is removed. Another call takes back the stop or ship before
    that. Raises UnknownExperimentError, or ExperimentError if the experiment was started or
    restarted since, if its exposures were deleted, or if a segment of its rules is missing.
    """
    with db.atomic():
        # Segments are locked before experiments.
        rules = find(key).rules
        problem = missing_name(rules, rules)
        with locked(key) as experiment:
            require_now(experiment, "undo")
            event = last_decision(experiment)
            before = event.before
            if before["state"] == State.RUNNING:
                if experiment.exposures_deleted_at is not None:
                    raise ExperimentError(lost_exposures(experiment))
                if problem:
                    raise ExperimentError(problem)
            if not before["has_report"] and experiment.exposures_deleted_at is None:
                experiment.frozen_report = None
            experiment.winner = before["winner"]
            ended_at = before["ended_at"] and datetime.fromisoformat(before["ended_at"])
            set_state(experiment, before["state"], ended_at)
            text = say(
                "undone: “{what}”; it is {state} again, with all exposures",
                what=event.message,
                state=say(experiment.state),
            )
            record(experiment, Kind.UNDONE, text)
            return experiment


def last_decision(experiment: Experiment) -> ExperimentEvent:
    """Returns the stop or the ship that `undo` would take back. Makes one query.

    Its `before` has the `state` and the `winner` that would be restored. Raises ExperimentError if
    nothing can be undone.
    """
    events = db.rows(ExperimentEvent).filter(experiment_id=experiment.pk)
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
    raise ExperimentError(_CANNOT_UNDO, key=experiment.key, what=say("none"))
