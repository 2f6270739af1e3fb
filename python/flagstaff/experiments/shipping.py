"""The end of an experiment: all units get the winner, and the report is frozen."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, transaction
from django.utils import timezone

from flagstaff._tables.sqlstate import error_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError, ExperimentError
from flagstaff.experiments import messages
from flagstaff.experiments.conditions import require_state, unknown_variant
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_json import metric_error, report_of
from flagstaff.experiments.rows import Kind, end, find, locked, record
from flagstaff.experiments.variants import variants_of


def ship(key: str, winner: str, *, with_report: bool = True) -> Experiment:
    """Gives all units this variant from now on, and freezes the report. No unit is recorded.

    Makes the queries of a report first, unless `with_report` is False. Raises
    UnknownExperimentError, InvalidExperimentError for an unknown variant, or ExperimentError if the
    experiment has not started, was shipped, or has no report because the primary metric or a
    guardrail fails.
    """
    found = find(key)
    _require_winner(found, winner)
    frozen = frozen_report(found) if with_report else None
    with locked(key) as experiment:
        _require_winner(experiment, winner)
        experiment.winner = winner
        if frozen is not None:
            # Else one that was stored before its exposures were deleted stays.
            experiment.frozen_report = frozen
        end(experiment, State.SHIPPED)
        record(experiment, Kind.SHIPPED, messages.SHIPPED(variant=winner))
        return experiment


def frozen_report(experiment: Experiment, *, every_metric: bool = False) -> dict[str, Any]:
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
    return {**report, "frozen_at": timezone.now().isoformat()}


def _not_stored(experiment: Experiment, why: str) -> ExperimentError:
    return ExperimentError(messages.REPORT_NOT_STORED(key=experiment.key, why=why))


def _require_winner(experiment: Experiment, winner: str) -> None:
    require_state(experiment, messages.CANNOT_SHIP, State.RUNNING, State.STOPPED)
    if winner not in [one.key for one in variants_of(experiment.variants)]:
        raise unknown_variant(experiment, winner)
