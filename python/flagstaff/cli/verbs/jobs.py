"""The periodic jobs: run-jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event

from django.core.management.base import CommandError, CommandParser
from django.db import Error, close_old_connections

from flagstaff._words.cells import printable
from flagstaff.cli.support.argument_types import seconds
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.retention import RetentionJob
from flagstaff.cli.support.stopping import stop_on_signals
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import JOBS, Job, JobReport
from flagstaff.stale.counting import STALE

_DEFAULT_PAUSE = 5.0
_MAX_PAUSE = 86_400.0


@dataclass(frozen=True)
class _Result:
    """What one job did, or its error."""

    job: Job
    reports: Sequence[JobReport]
    error: Error | FlagstaffError | None = None


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--loop",
        nargs="?",
        type=seconds(_MAX_PAUSE, allow_zero=False),
        const=_DEFAULT_PAUSE,
        metavar="SECONDS",
        help=f"run again and again, with a pause of SECONDS, by default {_DEFAULT_PAUSE:g}",
    )


def _run(options: Options, out: Output) -> None:
    if options["loop"] is not None:
        _loop(options["loop"], out)
        return
    results = _run_all(Event(), RetentionJob())
    _print_results(results, out)
    for result in results:
        if result.error is not None:
            raise result.error
    _require_no_errors(results)


def _run_all(stop: Event, retention: RetentionJob) -> list[_Result]:
    """Runs all jobs, the slow ones after the others, and returns their results.

    An error of one job does not keep the others from running.
    """
    deletion = Job(retention.name, retention.run, retention.columns, is_quiet=True)
    jobs = sorted((STALE, *JOBS, deletion), key=lambda job: job.is_slow)
    results = [_attempt(job, partial(job.run, stop)) for job in jobs]
    return [one for one in results if one.reports or one.error is not None or not one.job.is_quiet]


def _attempt(job: Job, run: Callable[[], Sequence[JobReport]]) -> _Result:
    try:
        return _Result(job, run())
    except (Error, FlagstaffError) as error:
        return _Result(job, (), error)


def _require_no_errors(results: Sequence[_Result]) -> None:
    """Raises CommandError if a report contains an error."""
    for result in results:
        failed = [report for report in result.reports if report.as_dict()["error"]]
        if failed:
            raise CommandError(
                f"{result.job.name}: {len(failed)} of {len(result.reports)} had an error; "
                f"{result.job.advice}",
                returncode=FAILED,
            )


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
            stop.wait(pause)


def _print_results(results: Sequence[_Result], out: Output) -> None:
    done = [result for result in results if result.error is None]
    records = {one.job.name: [report.as_dict() for report in one.reports] for one in done}
    if out.is_json:
        out.document(records)
        return
    if not results:
        out.message("no job was due")
    for result in done:
        out.records(result.job.columns, records[result.job.name])


def _print_news(reports: Sequence[JobReport], out: Output) -> None:
    """Prints a line for each report of something that happened."""
    for report in reports:
        if report.is_news and out.is_json:
            out.document(report.as_dict(), indent=None)
        elif report.is_news:
            out.line("\t".join(map(printable, report.fields)))


RUN_JOBS = Verb(
    name="run-jobs",
    help="run all due jobs: drive rollout plans, send webhooks, delete old rows",
    examples=("run-jobs", "run-jobs --loop 5", "run-jobs --json"),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
