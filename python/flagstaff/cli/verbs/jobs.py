"""The periodic jobs: run-jobs, and the job that deletes old rows."""

from __future__ import annotations

import signal
import threading
from _thread import start_new_thread
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Event
from typing import Any

from django.core.management.base import CommandError
from django.db import Error, close_old_connections
from django.utils import timezone

from flagstaff._core import monotonic
from flagstaff._engine.reports import prune_reports_in_batches
from flagstaff._engine.usage import prune_usage_in_batches
from flagstaff._words.cells import Column, printable
from flagstaff._words.times import aware
from flagstaff.cli.errors import FAILED
from flagstaff.cli.options import seconds
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, option, verb
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import JOBS, RETENTIONS, Job, JobReport, Retention
from flagstaff.history.retention import prune_in_batches
from flagstaff.stale.counting import STALE

_DEFAULT_PAUSE = 5.0
_MAX_PAUSE = 86_400.0
# A signal just before a wait does not interrupt it.
_MAX_WAIT = 1.0
# For the old rows of one kind: the other jobs of a loop wait for them.
_MAX_SECONDS = 1.0
# Nothing reads the rows of ended workers, but they help to find errors.
_WORKER_DAYS = 1
# After all old rows were deleted, until a loop looks for others.
_RETENTION_PAUSE = 3_600.0


@dataclass(frozen=True)
class _Result:
    """What one job did, or its error."""

    job: Job
    reports: Sequence[JobReport] = ()
    error: Error | FlagstaffError | None = None


@verb(
    "run-jobs",
    "run-jobs --loop 5",
    "run-jobs --json",
    topic=Topic.UPKEEP,
    arguments=(
        option(
            "--loop",
            "run again and again until Ctrl-C or SIGTERM, with a pause of SECONDS, by default "
            f"{_DEFAULT_PAUSE:g}",
            "SECONDS",
            nargs="?",
            type=seconds(_MAX_PAUSE, allow_zero=False),
            const=_DEFAULT_PAUSE,
        ),
    ),
)
def run_jobs(options: Options, out: Output) -> None:
    """Run all due jobs: drive rollout plans, send webhooks, delete old rows.

    Also counts the stale flags and computes the verdicts on running experiments, once an hour. An
    error of one job does not stop the others. With `--loop`, it prints a line for what happened.
    """
    if options["loop"] is not None:
        _loop(options["loop"], out)
        return
    results = _run_all(Event(), RetentionJob())
    done = [result for result in results if result.error is None]
    records = {one.job.name: [report.as_dict() for report in one.reports] for one in done}
    if out.is_json:
        out.document(records)
    else:
        if not results:
            out.message("no job was due")
        for result in done:
            out.records(result.job.columns, records[result.job.name])
    for result in results:
        if result.error is not None:
            raise result.error
    for result in results:
        failed = sum(1 for record in records[result.job.name] if record["error"])
        if failed:
            raise CommandError(
                f"{result.job.name}: {failed} of {len(result.reports)} had an error; "
                f"{result.job.advice}",
                returncode=FAILED,
            )


def _run_all(stop: Event, retention: RetentionJob) -> list[_Result]:
    """Runs all jobs, the slow ones after the others, and returns their results.

    An error of one job does not keep the others from running.
    """
    deletion = Job("retention", retention.run, retention.columns, is_quiet=True)
    results = []
    for job in sorted((STALE, *JOBS, deletion), key=lambda job: job.is_slow):
        try:
            result = _Result(job, job.run(stop))
        except (Error, FlagstaffError) as error:
            result = _Result(job, error=error)
        if result.reports or result.error is not None or not job.is_quiet:
            results.append(result)
    return results


def _loop(pause: float, out: Output) -> None:
    """Runs the jobs until SIGTERM or SIGINT. A database error does not end the loop."""
    retention = RetentionJob()
    with stop_on_signals() as stop:
        out.message("running jobs; press Ctrl-C to stop" if out.is_interactive else "running jobs")
        while not stop.is_set():
            close_old_connections()
            for result in _run_all(stop, retention):
                if isinstance(result.error, Error):
                    # Only the type: the message may quote data.
                    name = type(result.error).__name__
                    out.message(f"{result.job.name}: database error, will try again: {name}")
                elif result.error is not None:
                    raise result.error
                _print_news(result.reports, out)
            close_old_connections()
            until = monotonic() + pause
            while (left := until - monotonic()) > 0 and not stop.wait(min(left, _MAX_WAIT)):
                pass


def _print_news(reports: Sequence[JobReport], out: Output) -> None:
    """Prints a line for each report of something that happened."""
    for report in reports:
        if report.is_news and out.is_json:
            out.document(report.as_dict(), indent=None)
        elif report.is_news:
            out.line("\t".join(map(printable, report.fields)))


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """Gives an event that SIGTERM and SIGINT set. Outside the main thread no signal sets it."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def set_stop(*_given: object) -> None:
        # In a thread: `set` takes a lock, which the interrupted code may hold, as `Thread` does.
        start_new_thread(stop.set, ())

    signals = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, set_stop) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class RetentionReport:
    """What one run deleted of one kind of rows."""

    #: What was deleted, such as "history".
    rows: str
    deleted: int
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether something happened."""
        return self.deleted > 0 or self.error is not None

    @property
    def fields(self) -> tuple[str, ...]:
        """The report as the fields of one line."""
        return self.rows, self.error or f"deleted {self.deleted:,}"

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""
        return asdict(self)


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

    def _run_one(self, kept: Retention, stop: Event) -> RetentionReport:
        before = aware(timezone.now()) - timedelta(days=kept.days or 0)
        deleted, deadline = 0, monotonic() + _MAX_SECONDS
        error = None
        try:
            batches = self._unfinished.pop(kept.name, None) or kept.prune(before)
            for count in batches:
                deleted += count
                if stop.is_set() or monotonic() >= deadline:
                    self._unfinished[kept.name] = batches
                    return RetentionReport(kept.name, deleted)
        except (Error, FlagstaffError) as problem:
            # Of a database error only the type: the message may quote data.
            is_ours = isinstance(problem, FlagstaffError)
            error = str(problem) if is_ours else type(problem).__name__
        self._due_at[kept.name] = monotonic() + _RETENTION_PAUSE
        return RetentionReport(kept.name, deleted, error)


def _kept_rows() -> list[Retention]:
    """Returns the kinds of rows whose age is limited, most of them by a setting."""
    own = (
        Retention("history", conf.history_days, prune_in_batches),
        Retention("usage", conf.usage_days, prune_usage_in_batches),
        Retention("workers", _WORKER_DAYS, prune_reports_in_batches, by_setting=False),
    )
    kept = (*own, *(retention() for retention in RETENTIONS))
    return [retention for retention in kept if retention.days is not None]
