"""The heartbeat of `run-jobs`, and the metrics of what it has to do and has given up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from threading import Event

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from flagstaff._tables.database import db
from flagstaff.extensions import JOBS, Job, JobReport
from flagstaff.models import JobsRun


def _record_run(_stop: Event) -> Sequence[JobReport]:
    run = JobsRun(pk=1, last_run_at=Now())
    db.rows(JobsRun).bulk_create(
        [run], update_conflicts=True, unique_fields=["id"], update_fields=["last_run_at"]
    )
    return ()


HEARTBEAT = Job(name="heartbeat", run=_record_run, columns=(), is_quiet=True)


def job_metrics_text() -> str:
    """Returns the metrics in Prometheus' text format. The age has no sample before the first run.

    Makes a query for the age, and one for each backlog. Raises database errors.
    """
    # By one clock, that of the database.
    age = ExpressionWrapper(Now() - F("last_run_at"), output_field=DurationField())
    ages: Iterable[timedelta] = db.rows(JobsRun).values_list(age, flat=True)
    name = "flagstaff_jobs_age_seconds"
    lines = [f"# TYPE {name} gauge", *(f"{name} {age.total_seconds()!r}" for age in ages)]
    for job in JOBS:
        name, counts = f"flagstaff_{job.name}", job.backlog() if job.backlog else {}
        samples = [f'{name}{{state="{state}"}} {count}' for state, count in counts.items()]
        lines += [f"# TYPE {name} gauge", *samples] if samples else []
    return "\n".join([*lines, ""])
