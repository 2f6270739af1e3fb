"""The job of `run-jobs` that computes the verdicts on running experiments, for the overview."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from threading import Event

from django.db import DatabaseError
from django.utils import timezone

from flagstaff._core import monotonic
from flagstaff._tables.database import db, error_text
from flagstaff._text import storable
from flagstaff._text.cells import Column, Record
from flagstaff._text.times import aware, is_of_this_hour
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.models import Experiment, State, StoredVerdict
from flagstaff.experiments.reporting import make_report, metric_error
from flagstaff.extensions import Job, JobReport

# After this time a run begins no other experiment: the plans and the deliveries wait for it.
_MAX_SECONDS = 5.0


@dataclass(frozen=True)
class JobVerdict(JobReport):
    """The verdict that one run has stored."""

    experiment: str
    #: The outcomes by treatment.
    outcomes: dict[str, str]
    #: Why there is no verdict, such as a metric that fails; empty if there is one.
    problem: str = ""
    #: An error that is none of the metrics, or None.
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether there is a problem or an error."""
        return bool(self.problem or self.error)


def store_verdicts(stop: Event) -> list[JobVerdict]:
    """Computes the verdicts that are not of this hour and of the present run.

    Those that were not computed for the longest time come first. Begins none after five seconds:
    the next run continues. Does nothing on SQLite. Raises database errors; why there is no verdict
    is stored.
    """
    if not db.is_postgresql:
        return []
    reports: list[JobVerdict] = []
    deadline = monotonic() + _MAX_SECONDS
    for experiment in _due():
        if stop.is_set() or monotonic() >= deadline:
            break
        reports.append(_store(experiment))
    return reports


def _due() -> list[Experiment]:
    running = db.rows(Experiment).filter(state=State.RUNNING)
    due: list[tuple[bool, datetime, Experiment]] = []
    for experiment in running.select_related("stored_verdict").order_by("pk"):
        stored = verdict_of(experiment)
        if stored is None or not is_of_this_hour(stored.at):
            at = aware(timezone.now() if stored is None else stored.at)
            due.append((stored is not None, at, experiment))
    return [experiment for *_order, experiment in sorted(due, key=lambda row: row[:2])]


def verdict_of(experiment: Experiment) -> StoredVerdict | None:
    """Returns the last verdict on the present run of an experiment that was read with it."""
    stored: StoredVerdict | None = getattr(experiment, "stored_verdict", None)
    return stored if stored is not None and stored.run == experiment.run else None


def _store(experiment: Experiment) -> JobVerdict:
    outcomes: dict[str, str] = {}
    problem, failure = "", None
    now = timezone.now()
    try:
        with db.atomic():
            report = make_report(experiment, now)
        outcomes = {verdict["treatment"]: verdict["outcome"] for verdict in report["verdicts"]}
        # A guardrail that fails leaves a verdict, which says so.
        problem = "" if outcomes else metric_error(report)
    except ConfigurationError as error:
        problem = error.message
    except DatabaseError as error:
        problem = error_text(error)
    except Exception as error:  # noqa: BLE001 (the metrics of one experiment must not stop others)
        # Only the type: the message may quote data.
        problem = failure = type(error).__name__
    db.rows(StoredVerdict).update_or_create(
        experiment_id=experiment.pk,
        defaults={
            "run": experiment.run,
            "outcomes": outcomes,
            "problem": storable(problem),
            "at": now,
        },
    )
    return JobVerdict(experiment.key, outcomes, problem, failure)


def _outcomes(record: Record) -> str:
    return ", ".join(f"{arm}: {outcome}" for arm, outcome in record["outcomes"].items())


VERDICTS = Job(
    name="verdicts",
    run=store_verdicts,
    is_quiet=True,
    columns=(
        Column("experiment"),
        Column("outcomes", _outcomes),
        Column("problem", truncate=True),
        Column("error", truncate=True, style=lambda record: "WARNING" if record["error"] else None),
    ),
)
