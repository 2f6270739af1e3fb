"""The periodic jobs: run-jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, Generic, TypeVar

from django.core.management.base import CommandError, CommandParser
from django.db import Error, close_old_connections

from flagstaff._words.cells import Column, Record, printable
from flagstaff._words.text import counted
from flagstaff.cli.support.argument_types import seconds
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.retention import RetentionJob
from flagstaff.cli.support.stopping import stop_on_signals
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.contrib.webhooks import DeliveryReport, deliver, discard_failed, retry_failed
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import JOBS, JobReport
from flagstaff.stale.counting import STALE

_Report = TypeVar("_Report")

_DELIVERIES = "deliveries"
_DEFAULT_PAUSE = 5.0
_MAX_PAUSE = 86_400.0


@dataclass(frozen=True)
class _Result(Generic[_Report]):
    """What one job did, or its error."""

    name: str
    columns: Sequence[Column]
    reports: Sequence[_Report]
    error: Error | FlagstaffError | None = None


def _style(record: Record) -> str | None:
    return "WARNING" if record["failed_attempts"] or record["failed"] else None


_COLUMNS = (
    Column("receiver"),
    Column("host", truncate=True),
    Column("delivered", align_right=True),
    Column("failed_attempts", align_right=True, style=_style),
    Column("pending", align_right=True),
    Column("failed", align_right=True, style=_style),
    Column("error", truncate=True),
)


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--loop",
        nargs="?",
        type=seconds(_MAX_PAUSE, allow_zero=False),
        const=_DEFAULT_PAUSE,
        metavar="SECONDS",
        help=f"run again and again, with a pause of SECONDS, by default {_DEFAULT_PAUSE:g}",
    )
    failed = parser.add_mutually_exclusive_group()
    failed.add_argument("--retry-failed", action="store_true", help="send failed deliveries again")
    failed.add_argument("--discard-failed", action="store_true", help="delete failed deliveries")


def _run(options: Options, out: Output) -> None:
    if options["retry_failed"]:
        out.message(f"queued again: {_deliveries(retry_failed())}")
    if options["discard_failed"]:
        out.message(f"discarded: {_deliveries(discard_failed())}")
    if options["loop"] is not None:
        _loop(options["loop"], out)
        return
    results, deliveries = _run_all(Event(), RetentionJob())
    _print_results(results, out)
    for result in results:
        if result.error is not None:
            raise result.error
    failed = sum(report.failed for report in deliveries.reports)
    if failed:
        raise CommandError(
            f"{_deliveries(failed)} failed: pass --retry-failed or --discard-failed",
            returncode=FAILED,
        )
    _require_no_errors(results)


def _run_all(
    stop: Event, retention: RetentionJob
) -> tuple[list[_Result[Any]], _Result[DeliveryReport]]:
    """Runs all jobs, and returns their results; the deliveries are the first of them.

    Those of the apps run before, so that a slow receiver does not delay them. An error of one job
    does not keep the others from running.
    """
    of_apps: list[_Result[Any]] = []
    for job in (STALE, *JOBS):
        result = _attempt(job.name, job.columns, partial(job.run, stop))
        if result.reports or result.error is not None or not job.is_quiet:
            of_apps.append(result)
    deliveries = _attempt(_DELIVERIES, _COLUMNS, partial(deliver, stop=stop))
    run = partial(retention.run, stop)
    kept: _Result[Any] = _attempt(retention.name, retention.columns, run)
    if kept.reports or kept.error is not None:
        of_apps.append(kept)
    return [deliveries, *of_apps], deliveries


def _attempt(
    name: str, columns: Sequence[Column], run: Callable[[], Sequence[_Report]]
) -> _Result[_Report]:
    try:
        return _Result(name, columns, run())
    except (Error, FlagstaffError) as error:
        return _Result(name, columns, (), error)


def _require_no_errors(results: Sequence[_Result[Any]]) -> None:
    """Raises CommandError if a report contains an error. A failed attempt will be repeated."""
    for result in results[1:]:
        failed = [report for report in result.reports if report.as_dict()["error"]]
        if failed:
            raise CommandError(
                f"{result.name}: {len(failed)} of {len(result.reports)} had an error; the next run "
                "tries again",
                returncode=FAILED,
            )


def _loop(pause: float, out: Output) -> None:
    """Runs the jobs until SIGTERM or SIGINT. A database error does not end the loop."""
    retention = RetentionJob()
    with stop_on_signals() as stop:
        out.message("running jobs; press Ctrl-C to stop" if out.is_interactive else "running jobs")
        while not stop.is_set():
            close_old_connections()
            results, deliveries = _run_all(stop, retention)
            for result in results:
                if isinstance(result.error, Error):
                    prefix = "" if result is deliveries else f"{result.name}: "
                    # Only the type: the message may quote data.
                    name = type(result.error).__name__
                    out.message(f"{prefix}database error, will try again: {name}")
                elif result.error is not None:
                    raise result.error
            _print_lines(deliveries.reports, out)
            for result in results[1:]:
                _print_news(result.reports, out)
            close_old_connections()
            stop.wait(pause)


def _print_results(results: Sequence[_Result[Any]], out: Output) -> None:
    if out.is_json:
        out.document(
            {
                result.name: [report.as_dict() for report in result.reports]
                for result in results
                if result.error is None
            }
        )
        return
    deliveries, *other_results = results
    if deliveries.error is None:
        # With other jobs, run-jobs is there for these.
        if not (other_results or deliveries.reports):
            out.message("no receivers: add WEBHOOKS to FLAGSTAFF in the settings")
        _print_table(deliveries.reports, out)
    for result in other_results:
        out.records(result.columns, [report.as_dict() for report in result.reports])


def _print_news(reports: Sequence[JobReport], out: Output) -> None:
    """Prints a line for each report of something that happened."""
    for report in reports:
        if report.is_news and out.is_json:
            out.document(report.as_dict(), indent=None)
        elif report.is_news:
            out.line("\t".join(map(printable, report.fields)))


def _print_table(reports: Sequence[DeliveryReport], out: Output) -> None:
    out.records(_COLUMNS, [report.as_dict() for report in reports])
    for report in reports:
        if report.expired:
            expired = _deliveries(report.expired)
            why = "the history was pruned" if report.host else "it left WEBHOOKS three days ago"
            out.message(f"{report.receiver}: {expired} expired, because {why}")
        elif not report.host:
            out.message(
                f"{report.receiver} is no longer in WEBHOOKS, so its deliveries are not sent and "
                "expire after three days; to send them, add the receiver again"
            )


def _print_lines(reports: Sequence[DeliveryReport], out: Output) -> None:
    """Prints a line for each receiver with deliveries that were sent, tried or expired."""
    for report in reports:
        if not (report.delivered or report.failed_attempts or report.expired):
            continue
        if out.is_json:
            out.document(report.as_dict(), indent=None)
        else:
            out.line(_line(report.as_dict()))


def _line(record: Record) -> str:
    names = ("delivered", "failed_attempts", "pending", "failed")
    error = [record["error"]] if record["failed_attempts"] else []
    return "\t".join([record["receiver"], *(f"{name} {record[name]}" for name in names), *error])


def _deliveries(count: int) -> str:
    return counted(count, "delivery", "deliveries")


RUN_JOBS = Verb(
    name="run-jobs",
    help="run all due jobs: send webhook deliveries, drive rollout plans, delete old rows",
    examples=("run-jobs", "run-jobs --loop 5", "run-jobs --retry-failed --json"),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
