"""Deletes what experiments that have ended no longer need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.exceptions import ExperimentError, UnknownExperimentError
from flagstaff.experiments.models import Experiment, Exposure, ExposureWorker, State
from flagstaff.experiments.rows import locked
from flagstaff.experiments.shipping import frozen_report

__all__ = ["prune"]

_ENDED = (State.STOPPED, State.SHIPPED)


def prune(older_than: timedelta) -> int:
    """Deletes the exposures of experiments that ended so long ago, and returns their number.

    Freezes the report first, if it is not yet: an experiment that was only stopped cannot be
    started again. One that was shipped without a report needs none. Raises ExperimentError if a
    report cannot be made, after the exposures of all others were deleted.
    """
    before = timezone.now() - older_than
    ended = Experiment.objects.using(conf.database).filter(state__in=_ENDED, ended_at__lt=before)
    exposed = ended.filter(exposures__isnull=False).distinct().values_list("key", flat=True)
    deleted, problems = 0, []
    for key in list(exposed):
        try:
            deleted += _prune(key)
        except UnknownExperimentError:  # noqa: PERF203 (each is a transaction)
            # Somebody has deleted it meanwhile, with its exposures.
            continue
        except ExperimentError as error:
            problems.append(str(error))
    workers = ExposureWorker.objects.using(conf.database)
    workers.filter(last_seen_at__lt=before, stopped_at__isnull=False).delete()
    if problems:
        raise ExperimentError(f"{deleted:,} exposures were deleted, but {'; '.join(problems)}")
    return deleted


def _prune(key: str) -> int:
    with transaction.atomic(using=conf.database), locked(key) as experiment:
        if experiment.state not in _ENDED:
            return 0
        if experiment.frozen_report is None:
            experiment.frozen_report = _report_of(experiment)
            experiment.save(using=conf.database, update_fields=["frozen_report"])
        exposures = Exposure.objects.using(conf.database).filter(experiment_id=experiment.pk)
        deleted, _ = exposures.delete()
        return deleted


def _report_of(experiment: Experiment) -> dict[str, Any] | None:
    try:
        return frozen_report(experiment)
    except ExperimentError:
        if experiment.state == State.SHIPPED:
            # It was shipped without a report, because a metric fails.
            return None
        raise
