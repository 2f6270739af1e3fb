"""The periodic jobs: run-jobs."""

from __future__ import annotations

import signal
import threading
from _thread import start_new_thread
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from django.core.management.base import CommandError
from django.db import Error, close_old_connections

from flagstaff._core import monotonic
from flagstaff._jobs import HEARTBEAT, RetentionJob
from flagstaff._text.rules import naming
from flagstaff.cli.errors import FAILED, GIVEN_UP
from flagstaff.cli.options import seconds
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, option, verb
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import JOBS, Job, JobReport
from flagstaff.stale.facts import STALE

_DEFAULT_PAUSE = 5.0
_MIN_PAUSE, _MAX_PAUSE = 0.001, 86_400.0
# A signal just before a wait does not interrupt it.
_MAX_WAIT = 1.0
# What a line of news leaves out. Numbers stay, also 0.
_EMPTY: tuple[object, ...] = (None, "", {})


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
            type=seconds(_MIN_PAUSE, _MAX_PAUSE),
            const=_DEFAULT_PAUSE,
        ),
    ),
)
def run_jobs(options: Options, out: Output) -> None:
    """Run all due jobs: drive plans, run what waits, send webhooks, delete old rows.

    Also counts the stale flags and computes the verdicts on running experiments, once an hour. An
    error of one job does not stop the others. With `--loop`, it prints a line for what happened.
    """
    if options["loop"] is not None:
        _loop(options["loop"], out)
        return
    results = _run_all(Event(), RetentionJob())
    done = [result for result in results if result.error is None]
    records = {result.job.name: [report.as_dict() for report in result.reports] for result in done}
    if out.is_json:
        out.document(records)
    else:
        if not results:
            out.message("no job was due")
        for result in done:
            out.records(result.job.columns, records[result.job.name])
    _require_success(results)


def _require_success(results: Sequence[_Result]) -> None:
    """Raises the first error of a job, or else CommandError for errors, or for what was ended."""
    for result in results:
        if result.error is not None:
            raise result.error
    for result in results:
        failed = sum(1 for report in result.reports if report.as_dict()["error"])
        if failed:
            raise CommandError(
                f"{result.job.name}: {failed} of {len(result.reports)} had an error; "
                f"{result.job.advice}",
                returncode=FAILED,
            )
    for result in results:
        given_up = sum(1 for report in result.reports if report.has_given_up)
        if given_up:
            raise CommandError(
                f"{result.job.name}: {given_up} of {len(result.reports)} expired or failed; the "
                "output says which",
                returncode=GIVEN_UP,
            )


def _run_all(stop: Event, retention: RetentionJob) -> list[_Result]:
    """Runs all jobs, the slow ones after the others, and returns their results.

    An error of one job does not keep the others from running, but this run does not count then.
    """
    deletion = Job("retention", retention.run, retention.columns, is_quiet=True)
    results: list[_Result] = []
    jobs = sorted((STALE, *JOBS, deletion), key=lambda job: job.is_slow)
    for job in (*jobs, HEARTBEAT):
        if job is HEARTBEAT and any(result.error for result in results):
            break
        try:
            # Messages go to people who may see no names.
            with naming():
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
            results = _run_all(stop, retention)
            for result in results:
                _print_news(result, out)
            for result in results:
                if isinstance(result.error, Error):
                    # Only the type: the message may quote data.
                    name = type(result.error).__name__
                    out.message(f"{result.job.name}: database error, will try again: {name}")
                elif result.error is not None:
                    raise result.error
            close_old_connections()
            until = monotonic() + pause
            while (remaining := until - monotonic()) > 0 and not stop.wait(
                min(remaining, _MAX_WAIT)
            ):
                pass


def _print_news(result: _Result, out: Output) -> None:
    """Prints a line for each report of something that happened: the fields that are not empty."""
    for record in (report.as_dict() for report in result.reports if report.is_news):
        if out.is_json:
            out.document(record, indent=None)
        else:
            columns = (column for column in result.job.columns if record[column.name] not in _EMPTY)
            out.line("\t".join(f"{column.name} {column.for_pipe(record)}" for column in columns))


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """Gives an event that SIGTERM and SIGINT set. Outside the main thread no signal sets it."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def set_stop(*_signal: object) -> None:
        # In a thread: `set` takes a lock, which the interrupted code may hold, as `Thread` does.
        start_new_thread(stop.set, ())

    signals = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, set_stop) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
