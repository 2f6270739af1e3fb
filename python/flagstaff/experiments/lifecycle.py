"""What a person does with an experiment: create, start, stop, ship, undo, delete.

Each function locks the experiment, and is one transaction or part of the surrounding one.
`acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from flagstaff._tables.sqlstate import error_text
from flagstaff._words.text import Text, joined, marked
from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError, ExperimentError, InvalidExperimentError
from flagstaff.experiments.conditions import (
    lost_exposures,
    require_free,
    require_now,
    require_variant,
)
from flagstaff.experiments.editing import columns_of, set_columns
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.reporting import metric_error, report_of, time_as_json
from flagstaff.experiments.rows import (
    Kind,
    begin_run,
    find,
    locked,
    newest_event,
    record,
    set_state,
)
from flagstaff.experiments.variants import Variant, variants_of
from flagstaff.validators import MAX_PERCENT

_CANNOT_UNDO = marked(
    "{key} cannot be undone: only a stop or a ship can, but the last change is “{what}”. Start, "
    "stop or ship it instead"
)
#: What can be undone, and what undo would overwrite. Other events change neither state nor units.
_DECISIONS = {Kind.STOPPED, Kind.SHIPPED}
_CONFLICTS = {Kind.CREATED, Kind.STARTED, Kind.RESTARTED}


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
    experiment = Experiment(key=key)
    given = columns_of(
        variants=variants,
        traffic_percent=traffic_percent,
        bucket_by=bucket_by,
        rules=rules,
        description=description,
        owner=owner,
    )
    set_columns(experiment, given)
    with transaction.atomic(using=conf.database):
        require_free(key)
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_segment(experiment.rules, lock=True):
            raise InvalidExperimentError(problem)
        try:
            with transaction.atomic(using=conf.database):
                experiment.save(using=conf.database, force_insert=True)
        except IntegrityError as error:
            raise InvalidExperimentError("there is an experiment {key} already", key=key) from error
        weights = joined(f"{one.key} {one.weight}" for one in variants_of(experiment.variants))
        text = Text(
            "created with {variants}; {percent} % of all units take part",
            variants=weights,
            percent=traffic_percent,
        )
        record(experiment, Kind.CREATED, text)
    return experiment


def start(key: str) -> Experiment:
    """Starts a draft, or an experiment that was stopped. Units get variants from now on.

    Raises UnknownExperimentError, or ExperimentError if it runs, is shipped, or has only its stored
    report.
    """
    with locked(key) as experiment:
        require_now(experiment, "start")
        if experiment.state == State.DRAFT:
            begin_run(experiment)
            record(experiment, Kind.STARTED, Text("started"))
        else:
            set_state(experiment, State.RUNNING)
            record(experiment, Kind.STARTED, Text("continued with all exposures"))
        return experiment


def stop(key: str) -> Experiment:
    """Stops an experiment, also a shipped one: every call returns its default.

    No unit is recorded. Changes nothing if that is so already. Raises UnknownExperimentError.
    """
    with locked(key) as experiment:
        if experiment.state in {State.RUNNING, State.SHIPPED}:
            text = Text("stopped: every call returns its default")
            _decide(experiment, State.STOPPED, "", Kind.STOPPED, text)
        return experiment


def delete(key: str) -> None:
    """Deletes an experiment with its exposures and events. Every call returns its default.

    Raises UnknownExperimentError, or ExperimentError while it runs.
    """
    with locked(key) as experiment:
        require_now(experiment, "delete")
        experiment.delete(using=conf.database)


def ship(key: str, winner: str, *, with_report: bool = True) -> Experiment:
    """Gives all units this variant from now on, and freezes the report. No unit is recorded.

    Makes the queries of a report first, unless `with_report` is False. A shipped experiment can
    ship another variant, and keeps its stored report; the same variant changes nothing. Raises
    UnknownExperimentError, InvalidExperimentError for an unknown variant, or ExperimentError if the
    experiment has not started, has no report because the primary metric or a guardrail fails, or
    was changed while its report was made.
    """
    present = find(key)
    _require_winner(present, winner)
    last, frozen = newest_event(present), None
    has_report = present.frozen_report is not None or present.exposures_deleted_at is not None
    if with_report and not has_report and present.state != State.SHIPPED:
        # Before the lock: nothing may delay a stop.
        frozen = frozen_report(present)
    with locked(key) as experiment:
        _require_winner(experiment, winner)
        if experiment.winner == winner:
            return experiment
        if frozen is not None and newest_event(experiment) != last:
            raise ExperimentError(
                "{key} was changed while its report was made; ship it again", key=key
            )
        text = Text("shipped: all units get {variant}", variant=winner)
        if experiment.winner:
            text = Text(
                "shipped: all units get {variant} instead of {before}; the stored report stays",
                variant=winner,
                before=experiment.winner,
            )
        _decide(experiment, State.SHIPPED, winner, Kind.SHIPPED, text)
        if frozen is not None:
            frozen["ended_at"] = time_as_json(experiment.ended_at)
            experiment.frozen_report = frozen
            experiment.save(using=conf.database, update_fields=["frozen_report"])
        return experiment


def frozen_report(experiment: Experiment, *, every_metric: bool = False) -> Report:
    """Returns the report with the time at which it was frozen.

    Raises ExperimentError if the primary metric or a guardrail, or with `every_metric` any metric,
    cannot be measured.
    """
    try:
        with transaction.atomic(using=conf.database):
            report = report_of(experiment)
        why = metric_error(report, every_metric=every_metric)
    except ConfigurationError as error:
        why = error.message
    except DatabaseError as error:
        why = error_text(error)
    if why:
        raise ExperimentError(
            "the report of {key} cannot be stored: {why}. Correct the metric, or ship without a "
            "report: with_report=False, or --no-report",
            key=experiment.key,
            why=why,
        )
    return {**report, "frozen_at": time_as_json(timezone.now())}


def _require_winner(experiment: Experiment, winner: str) -> None:
    require_now(experiment, "ship")
    require_variant(experiment, winner)


def _decide(experiment: Experiment, state: State, winner: str, kind: Kind, text: Text) -> None:
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
    with transaction.atomic(using=conf.database):
        # Segments are locked before experiments.
        problem = missing_segment(find(key).rules, lock=True)
        with locked(key) as experiment:
            event = last_decision(experiment)
            before = event.before
            if before["state"] == State.RUNNING:
                if experiment.exposures_deleted_at is not None:
                    raise ExperimentError(lost_exposures(experiment))
                if problem:
                    raise ExperimentError(problem)
            had_report = experiment.frozen_report is not None
            if not before["has_report"] and experiment.exposures_deleted_at is None:
                experiment.frozen_report = None
            experiment.winner = before["winner"]
            ended_at = before["ended_at"] and datetime.fromisoformat(before["ended_at"])
            set_state(experiment, before["state"], ended_at)
            now = _state_text(experiment, lost_report=had_report)
            text = Text("undone: “{what}”; {now}", what=event.message, now=now)
            record(experiment, Kind.UNDONE, text)
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


def _state_text(experiment: Experiment, *, lost_report: bool) -> Text:
    if experiment.state == State.SHIPPED:
        return Text("all units get {variant}", variant=experiment.winner)
    if experiment.state == State.STOPPED:
        return Text("every call returns its default")
    if lost_report:
        return Text("it runs with all exposures; the stored report was removed")
    return Text("it runs with all exposures")
