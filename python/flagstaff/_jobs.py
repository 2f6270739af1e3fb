"""The jobs of the core: one deletes what is older than the settings allow, one is the heartbeat.

Also the metrics of what all jobs have to do and have given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

from django.db import Error
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now
from django.utils import timezone

from flagstaff._core import monotonic
from flagstaff._tables.database import db
from flagstaff._text.times import Column, aware
from flagstaff._workers.register import prune_reports_in_batches
from flagstaff._workers.usage import prune_usage_in_batches
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import JOBS, RETENTIONS, Job, JobReport, Retention
from flagstaff.history.retention import prune_in_batches
from flagstaff.models import JobsRun

# For the old rows of one kind: the other jobs of a loop wait for them.
_MAX_SECONDS = 1.0
# Nothing reads the rows of ended workers, but they help to find errors.
_WORKER_DAYS = 1
# After all old rows were deleted, until a loop looks for others.
_RETENTION_PAUSE = 3_600.0


@dataclass(frozen=True)
class RetentionReport(JobReport):
    """What one run deleted of one kind of rows."""

    #: What was deleted, such as "history".
    rows: str
    deleted: int
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether something happened."""
        return self.deleted > 0 or self.error is not None


class RetentionJob:
    """Deletes what is older than the settings allow, in small transactions and for a short time.

    One object serves all runs of a loop: a run goes on where the one before has stopped.
    """

    columns = (
        Column("rows"),
        Column("deleted", align_right=True),
        Column("error", truncate=True, style=lambda record: "WARNING" if record["error"] else None),
    )

    def __init__(self) -> None:
        self._unfinished: dict[str, Iterator[int]] = {}
        self._due_at: dict[str, float] = {}

    def run(self, stop: Event) -> Sequence[RetentionReport]:
        """Deletes for at most a second of each kind. Kinds that are not due have no report.

        Neither have kinds without a setting of which nothing was deleted.
        """
        now = monotonic()
        due = [kind for kind in _kept_rows() if self._due_at.get(kind.name, 0.0) <= now]
        reports = [(kind, self._run_one(kind, stop)) for kind in due]
        return [report for kind, report in reports if kind.by_setting or report.is_news]

    def _run_one(self, retention: Retention, stop: Event) -> RetentionReport:
        before = aware(timezone.now()) - timedelta(days=retention.days or 0)
        deleted, deadline = 0, monotonic() + _MAX_SECONDS
        error = None
        try:
            batches = self._unfinished.pop(retention.name, None) or retention.prune(before)
            for count in batches:
                deleted += count
                if stop.is_set() or monotonic() >= deadline:
                    self._unfinished[retention.name] = batches
                    return RetentionReport(retention.name, deleted)
        except (Error, FlagstaffError) as problem:
            # Of a database error only the type: the message may quote data.
            is_ours = isinstance(problem, FlagstaffError)
            error = str(problem) if is_ours else type(problem).__name__
        self._due_at[retention.name] = monotonic() + _RETENTION_PAUSE
        return RetentionReport(retention.name, deleted, error)


def _kept_rows() -> list[Retention]:
    """Returns the kinds of rows whose age is limited, most of them by a setting."""
    core_retentions = (
        Retention("history", conf.history_days, prune_in_batches),
        Retention("usage", conf.usage_days, prune_usage_in_batches),
        Retention("workers", _WORKER_DAYS, prune_reports_in_batches, by_setting=False),
    )
    retentions = (*core_retentions, *(retention() for retention in RETENTIONS))
    return [retention for retention in retentions if retention.days is not None]


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
