"""Deletes what experiments that have ended no longer need."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.experiments.models import Experiment, Exposure, ExposureWorker, State
from flagstaff.experiments.rows import locked
from flagstaff.experiments.shipping import frozen_report

__all__ = ["prune"]

_ENDED = (State.STOPPED, State.SHIPPED)


def prune(older_than: timedelta) -> int:
    """Deletes the exposures of experiments that ended so long ago, and returns their number.

    Freezes the report first, if it is not yet: an experiment that was only stopped cannot be
    started again. Raises ExperimentError if a report cannot be made.
    """
    before = timezone.now() - older_than
    ended = Experiment.objects.using(conf.database).filter(state__in=_ENDED, ended_at__lt=before)
    exposed = ended.filter(exposures__isnull=False).distinct().values_list("key", flat=True)
    deleted = sum(_prune(key) for key in exposed)
    workers = ExposureWorker.objects.using(conf.database)
    workers.filter(last_seen_at__lt=before, stopped_at__isnull=False).delete()
    return deleted


def _prune(key: str) -> int:
    with transaction.atomic(using=conf.database), locked(key) as experiment:
        if experiment.state not in _ENDED:
            return 0
        if experiment.frozen_report is None:
            experiment.frozen_report = frozen_report(experiment)
            experiment.save(using=conf.database, update_fields=["frozen_report"])
        exposures = Exposure.objects.using(conf.database).filter(experiment_id=experiment.pk)
        deleted, _ = exposures.delete()
        return deleted
