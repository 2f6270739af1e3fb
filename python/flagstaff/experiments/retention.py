"""Deletes what experiments that have ended no longer need."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from flagstaff._tables.database import db
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._text import joined
from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, UnknownExperimentError
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.reporting import frozen_report
from flagstaff.experiments.rows import locked
from flagstaff.extensions import Retention

_ENDED = (State.STOPPED, State.SHIPPED)
# For one query of a metric. Rollout plans are not driven meanwhile.
_STATEMENT_MS = 20_000
# The exposures that one transaction deletes.
_BATCH = 5_000


def prune(older_than: timedelta) -> int:
    """Deletes the exposures of experiments that ended before that, and returns their number.

    Freezes the report first, if it is not yet: an experiment that was only stopped cannot be
    started again. One that was shipped without a report needs none. Each 5,000 exposures are a
    transaction of their own. Raises ExperimentError if a report cannot be made, after the exposures
    of all others were deleted.
    """
    return sum(prune_in_batches(timezone.now() - older_than))


def prune_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the exposures of experiments that ended before a time, as `prune` does.

    Yields the number of each batch, which is committed: a caller may stop between two batches.
    """
    ended = db.rows(Experiment).filter(state__in=_ENDED, ended_at__lt=before)
    exposed = ended.filter(exposures__isnull=False).distinct().values_list("pk", flat=True)
    deleted, problems = 0, []
    for pk in list(exposed):
        try:
            is_ended = _freeze(pk, before)
        except UnknownExperimentError:
            # Somebody has deleted it meanwhile, with its exposures.
            continue
        except ExperimentError as error:
            problems.append(error.message)
            continue
        for count in _delete(pk) if is_ended else ():
            deleted += count
            yield count
    if problems:
        raise ExperimentError(
            "{count} exposures were deleted, but {problems}",
            count=deleted,
            problems=joined(problems, "; "),
        )


def retention() -> Retention:
    """Returns how long the exposures of experiments that have ended are kept."""
    return Retention("exposures", conf.exposure_days, prune_in_batches)


def _freeze(pk: int, before: datetime) -> bool:
    """Stores the report, so that the experiment cannot start again. False if it has not ended."""
    ended = db.rows(Experiment).filter(state__in=_ENDED, ended_at__lt=before)
    unlocked = ended.filter(pk=pk).first()
    if unlocked is None:
        return False
    # Before the lock, because people would wait for it.
    report = _report_of(unlocked) if unlocked.frozen_report is None else None
    with locked(unlocked.key) as experiment:
        if not ended.filter(pk=experiment.pk, ended_at=unlocked.ended_at).exists():
            return False
        if experiment.frozen_report is None and report is not None:
            experiment.frozen_report = report
        if experiment.exposures_deleted_at is None:
            experiment.exposures_deleted_at = timezone.now()
        experiment.save(using=db.alias, update_fields=["frozen_report", "exposures_deleted_at"])
        return True


def _delete(experiment: int) -> Iterator[int]:
    template = sql("prune_exposures_v1", "flagstaff.experiments")
    statement = fill(template, optional_names(db.connection))
    return db.delete_in_batches(statement, {"experiment": experiment}, _BATCH)


def _report_of(experiment: Experiment) -> Report | None:
    """Returns the report. Without the exposures it cannot be made again, so no metric may fail.

    None for one that was shipped without a report, because a metric fails.
    """
    is_shipped = experiment.state == State.SHIPPED
    with db.atomic():
        with db.connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [_STATEMENT_MS])
        report, why = frozen_report(experiment, every_metric=not is_shipped)
    if why and not is_shipped:
        raise ExperimentError(
            "the report of {key} cannot be stored: {why}. Correct the metric",
            key=experiment.key,
            why=why,
        )
    return report
