"""What a person does with an experiment: create, start, stop, ship, delete.

Each function locks the experiment, and is one transaction or part of the surrounding one.
`acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from flagstaff._tables.sqlstate import error_text
from flagstaff._words.text import Text, marked
from flagstaff.changes.segment_use import missing_segment
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError, ExperimentError, InvalidExperimentError
from flagstaff.experiments.conditions import (
    require_exposures,
    require_free,
    require_possible,
    require_state,
    require_valid,
    unknown_variant,
)
from flagstaff.experiments.models import Experiment, State
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
    weights_message,
)
from flagstaff.experiments.undoing import earlier_state
from flagstaff.experiments.variants import Variant, valid_variants, variants_as_json, variants_of
from flagstaff.validators import MAX_PERCENT

_CREATED = marked("created with {variants}; {percent} % of all units take part")
_CANNOT_START = marked("{key} cannot be started, because it is {state}")
_CANNOT_SHIP = marked("{key} cannot be shipped, because it is {state}")
_CANNOT_DELETE = marked("{key} cannot be deleted, because it is {state}")


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
    valid = valid_variants(variants)
    require_valid(key, traffic_percent, bucket_by, rules)
    require_possible(rules)
    experiment = Experiment(
        key=key,
        description=description,
        owner=owner,
        variants=variants_as_json(valid),
        traffic_percent=traffic_percent,
        bucket_by=bucket_by,
        rules=list(rules),
    )
    with transaction.atomic(using=conf.database):
        require_free(key)
        # Locked, so that no segment is deleted meanwhile.
        if problem := missing_segment(list(rules), lock=True):
            raise InvalidExperimentError(problem)
        try:
            with transaction.atomic(using=conf.database):
                experiment.save(using=conf.database, force_insert=True)
        except IntegrityError as error:
            raise InvalidExperimentError("there is an experiment {key} already", key=key) from error
        message = weights_message(_CREATED, valid, traffic_percent)
        record(experiment, Kind.CREATED, message)
    return experiment


def start(key: str) -> Experiment:
    """Starts a draft, or an experiment that was stopped. Units get variants from now on.

    Raises UnknownExperimentError, or ExperimentError if it runs, is shipped, or has only its stored
    report.
    """
    with locked(key) as experiment:
        require_state(experiment, _CANNOT_START, State.DRAFT, State.STOPPED)
        require_exposures(experiment)
        if experiment.frozen_report is not None:
            raise ExperimentError(
                "{key} cannot be started, because it was shipped and its report is stored; undo "
                "the ship, ship a variant, or create another one",
                key=key,
            )
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
            before = earlier_state(experiment)
            experiment.winner = ""
            set_state(experiment, State.STOPPED)
            record(
                experiment, Kind.STOPPED, Text("stopped: every call returns its default"), before
            )
        return experiment


def delete(key: str) -> None:
    """Deletes an experiment with its exposures and events. Every call returns its default.

    Raises UnknownExperimentError, or ExperimentError while it runs.
    """
    with locked(key) as experiment:
        require_state(experiment, _CANNOT_DELETE, State.DRAFT, State.STOPPED, State.SHIPPED)
        experiment.delete(using=conf.database)


def ship(key: str, winner: str, *, with_report: bool = True) -> Experiment:
    """Gives all units this variant from now on, and freezes the report. No unit is recorded.

    Makes the queries of a report first, unless `with_report` is False. A shipped experiment can
    ship another variant, and keeps its stored report; the same variant changes nothing. Raises
    UnknownExperimentError, InvalidExperimentError for an unknown variant, or ExperimentError if the
    experiment has not started, or has no report because the primary metric or a guardrail fails.
    """
    present = find(key)
    _require_winner(present, winner)
    last = newest_event(present)
    frozen = frozen_report(present) if with_report and _has_no_end(present) else None
    with locked(key) as experiment:
        _require_winner(experiment, winner)
        if experiment.winner == winner:
            return experiment
        before, message = (
            earlier_state(experiment),
            Text("shipped: all units get {variant}", variant=winner),
        )
        if experiment.winner:
            message = Text(
                "shipped: all units get {variant} instead of {before}; the stored report stays",
                variant=winner,
                before=experiment.winner,
            )
        is_stored = frozen is not None and _has_no_end(experiment)
        if is_stored and newest_event(experiment) != last:
            # Somebody has changed it since the report was read.
            frozen = frozen_report(experiment)
        experiment.winner = winner
        set_state(experiment, State.SHIPPED)
        if frozen is not None and is_stored:
            frozen["ended_at"] = time_as_json(experiment.ended_at)
            experiment.frozen_report = frozen
            experiment.save(using=conf.database, update_fields=["frozen_report"])
        record(experiment, Kind.SHIPPED, message, before)
        return experiment


def _has_no_end(experiment: Experiment) -> bool:
    """Whether its report can still change, so that it is stored when the experiment is shipped."""
    return (
        experiment.state != State.SHIPPED
        and experiment.frozen_report is None
        and experiment.exposures_deleted_at is None
    )


def frozen_report(experiment: Experiment, *, every_metric: bool = False) -> Report:
    """Returns the report with the time at which it was frozen.

    Raises ExperimentError if the primary metric or a guardrail, or with `every_metric` any metric,
    cannot be measured.
    """
    try:
        with transaction.atomic(using=conf.database):
            report = report_of(experiment)
    except ConfigurationError as error:
        raise _not_stored(experiment, error.message) from error
    except DatabaseError as error:
        raise _not_stored(experiment, error_text(error)) from error
    if why := metric_error(report, every_metric=every_metric):
        raise _not_stored(experiment, why)
    return {**report, "frozen_at": time_as_json(timezone.now())}


def _not_stored(experiment: Experiment, why: str) -> ExperimentError:
    return ExperimentError(
        "the report of {key} cannot be stored: {why}. Correct the metric, or ship without a "
        "report: with_report=False, or --no-report",
        key=experiment.key,
        why=why,
    )


def _require_winner(experiment: Experiment, winner: str) -> None:
    require_state(experiment, _CANNOT_SHIP, State.RUNNING, State.STOPPED, State.SHIPPED)
    if winner not in [variant.key for variant in variants_of(experiment.variants)]:
        raise unknown_variant(experiment, winner)
