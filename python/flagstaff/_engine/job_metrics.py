"""The heartbeat of `run-jobs`, and the metrics of what it has to do and has given up."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from flagstaff._engine.metrics import Sample, metric_text
from flagstaff.conf import conf
from flagstaff.extensions import BACKLOGS
from flagstaff.models import JobsRun

_AGE = "Time since run-jobs last ran all jobs without an error."


def record_run() -> None:
    """Writes that `run-jobs` has run now. Makes one query, and raises database errors."""
    JobsRun.objects.using(conf.database).bulk_create(
        [JobsRun(pk=1, last_run_at=Now())],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["last_run_at"],
    )


def job_metrics_text() -> str:
    """Returns the metrics in Prometheus' text format. The age has no sample before the first run.

    Makes a query for the age, and one for each backlog. Raises database errors.
    """
    # By one clock, that of the database.
    age = ExpressionWrapper(Now() - F("last_run_at"), output_field=DurationField())
    ages = JobsRun.objects.using(conf.database).values_list(age, flat=True)
    seconds: list[Sample] = [({}, age / timedelta(seconds=1)) for age in ages]
    texts = [metric_text("flagstaff_jobs_age_seconds", _AGE, seconds)]
    for backlog in BACKLOGS:
        numbers = [({"state": state}, count) for state, count in backlog.count().items()]
        texts.append(metric_text(f"flagstaff_{backlog.name}", backlog.help, numbers))
    return "".join(texts)
