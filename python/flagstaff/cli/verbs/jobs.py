"""The periodic jobs: run-jobs."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError, CommandParser
from django.db import Error, close_old_connections

from flagstaff.cli.support.argument_types import seconds
from flagstaff.cli.support.cells import Column, Record
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.stopping import stop_on_signals
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.webhooks import DeliveryReport, deliver, discard_failed, retry_failed

__all__ = ["RUN_JOBS"]

_DEFAULT_PAUSE = 5.0
_MAX_PAUSE = 86_400.0


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
    reports = deliver()
    _print_table(reports, out)
    failed = sum(report.failed for report in reports)
    if failed:
        raise CommandError(
            f"{_deliveries(failed)} failed: pass --retry-failed or --discard-failed",
            returncode=FAILED,
        )


def _loop(pause: float, out: Output) -> None:
    """Runs the jobs until SIGTERM or SIGINT. A database error does not end the loop."""
    with stop_on_signals() as stop:
        out.message("running jobs; press Ctrl-C to stop")
        while not stop.is_set():
            close_old_connections()
            try:
                reports = deliver(stop=stop)
            except Error as error:
                # Only the type: the message may quote data.
                out.message(f"database error, will try again: {type(error).__name__}")
            else:
                _print_lines(reports, out)
            close_old_connections()
            stop.wait(pause)


def _print_table(reports: Sequence[DeliveryReport], out: Output) -> None:
    if not reports:
        out.message("no receivers: add WEBHOOKS to FLAGSTAFF in the settings")
    out.records(_COLUMNS, [report.as_dict() for report in reports])
    for report in reports:
        if report.expired:
            expired = _deliveries(report.expired)
            out.message(f"{report.receiver}: {expired} expired, because the history was pruned")
        if not report.host:
            out.message(
                f"{report.receiver} is no longer in WEBHOOKS, so its deliveries are not sent; "
                "to send them, add the receiver again"
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
    return f"{count:,} deliver{'y' if count == 1 else 'ies'}"


RUN_JOBS = Verb(
    name="run-jobs",
    help="run all due jobs: send webhook deliveries",
    examples=("run-jobs", "run-jobs --loop 5", "run-jobs --retry-failed --json"),
    add_arguments=_add_arguments,
    run=_run,
)
