"""The jobs of `run-jobs`: verdicts on running experiments, and exposures of those that ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

from django.db import DatabaseError
from django.utils import timezone

from flagstaff._core import monotonic
from flagstaff._tables.database import db, error_text, fill, optional_names, sql
from flagstaff._text import as_stored, joined, storable
from flagstaff._text.times import Column, Record, aware, is_of_this_hour
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError, ExperimentError, UnknownExperimentError
from flagstaff.experiments.models import Experiment, State, StoredVerdict
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.reporting import frozen_report, make_report, metric_error
from flagstaff.experiments.rows import locked, note_moves
from flagstaff.extensions import Job, JobReport, Retention

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
    note_moves(db.rows(Experiment).filter(state=State.RUNNING).order_by("pk"))
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
            "problem": storable(as_stored(problem)),
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


# The exposures of experiments that have ended.

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
