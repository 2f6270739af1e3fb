"""Evaluation counts: usage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from flagstaff._engine.reports import LostWorker
from flagstaff._engine.unknown_keys import UnknownKeys, unknown_keys
from flagstaff._engine.usage import BulkUsage, HourlyUsage, Usage, prune_usage, usage
from flagstaff._words.cells import Column, Record
from flagstaff._words.times import full_time
from flagstaff.cli.support.argument_types import days
from flagstaff.cli.support.errors import USAGE as USAGE_ERROR
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

_KEY, _HOUR = Column("key"), Column("hour")
_LAST = Column("last_evaluated_at", header="LAST EVALUATED")
_COUNTS = (
    Column("true_count", header="TRUE", align_right=True),
    Column("false_count", header="FALSE", align_right=True),
)
_BULK = (
    Column("served_in_bulk_at", header="SERVED IN BULK"),
    Column("served_to_browsers_at", header="SERVED TO BROWSERS"),
)
_TURNED_OFF = "usage is turned off in this process: USAGE_INTERVAL is 0"
_NO_REPORTS = "no worker is reporting now"
_VALUE_COLUMNS = (
    _KEY,
    Column("result"),
    Column("count", align_right=True),
    Column("last_hour", header="LAST HOUR"),
)
_UNKNOWN_COLUMNS = (_KEY, Column("evaluations", align_right=True), _LAST)


def _add_usage(parser: CommandParser) -> None:
    parser.add_argument("key", metavar="KEY", nargs="?", help="the key; by default all flags")
    parser.add_argument("--days", type=days, metavar="N", help="only the last N days")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--hours", action="store_true", help="show each hour separately")
    shown.add_argument(
        "--values", action="store_true", help="show the results of values with rules instead"
    )
    shown.add_argument(
        "--unknown", action="store_true", help="show keys that are evaluated but have no flag"
    )
    add_prune(parser)


def _usage(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune_usage, "usage")
        return
    if options["unknown"]:
        if options["key"] is not None:
            message = "--unknown lists all keys without a flag: leave out KEY"
            raise CommandError(message, returncode=USAGE_ERROR)
        _show_unknown(options["days"], out)
        return
    counts = usage(options["key"], since=options["days"])
    if options["values"]:
        _show_values(counts, options["days"], out)
        return
    hours = [hour for hour in counts.hours if hour.defined]
    if not hours and not counts.bulk:
        out.message("no matching entries")
    if options["hours"]:
        out.records((_HOUR, _KEY, *_COUNTS), [_hour_record(hour) for hour in hours])
    else:
        columns = (_KEY, *_COUNTS, _LAST, *(_BULK if counts.bulk else ()))
        out.records(columns, _totals(hours, counts.bulk))
    out.message(_period(counts, options["days"]))
    for worker in counts.lost:
        out.message(_lost_worker(worker))


def _show_values(counts: Usage, age: timedelta | None, out: Output) -> None:
    if not counts.values:
        out.message("no matching entries")
    records = [
        {
            "key": value.key,
            "result": f"rule {value.rule}" if value.rule else "the value itself",
            "count": value.count,
            "last_hour": value.last_hour,
        }
        for value in counts.values
    ]
    out.records(_VALUE_COLUMNS, records)
    out.message(_period(counts, age))


def _period(counts: Usage | UnknownKeys, age: timedelta | None) -> str:
    """Says which time the counts cover."""
    since, until = counts.since, counts.until
    if since is None and until is None:
        interval = conf.usage_interval
        reports = f"workers report every {interval:g} s" if interval else _TURNED_OFF
        return f"no worker has reported its usage yet; {reports}"
    if since is not None and age is not None:
        since = max(since, timezone.now() - age)
    start = "" if since is None else f" from {full_time(since)}"
    # The rows of workers may have been pruned.
    end = "" if until is None else f" until {full_time(until)}"
    reports = f"workers report every {counts.interval:g} s" if counts.interval else _NO_REPORTS
    return f"counted{start}{end}; {reports}"


def _hour_record(hour: HourlyUsage) -> Record:
    return {
        "hour": hour.hour,
        "key": hour.key,
        "true_count": hour.true_count,
        "false_count": hour.false_count,
    }


def _lost_worker(worker: LostWorker) -> str:
    return (
        f"worker {worker.host} (pid {worker.pid}) did not shut down cleanly; "
        f"usage after {full_time(worker.last_seen_at)} may be missing"
    )


def _show_unknown(age: timedelta | None, out: Output) -> None:
    unknown = unknown_keys(age=age)
    if not unknown.keys:
        out.message("no unknown keys were evaluated")
    records = [
        {
            "key": unknown_key.key,
            "evaluations": unknown_key.evaluations,
            "last_evaluated_at": unknown_key.last_evaluated_at,
        }
        for unknown_key in sorted(unknown.keys, key=lambda unknown_key: unknown_key.key)
    ]
    out.records(_UNKNOWN_COLUMNS, records)
    out.message(_period(unknown, age))


def _totals(hours: Iterable[HourlyUsage], bulk: Iterable[BulkUsage]) -> list[Record]:
    """Returns one record per key, with the sums of its hours."""
    served = {flag.key: flag for flag in bulk}
    by_key: dict[str, list[HourlyUsage]] = defaultdict(list, {key: [] for key in served})
    for hour in hours:
        by_key[hour.key].append(hour)
    return [
        {
            "key": key,
            "true_count": sum(hour.true_count for hour in of_key),
            "false_count": sum(hour.false_count for hour in of_key),
            "last_evaluated_at": max((hour.last_evaluated_at for hour in of_key), default=None),
            "served_in_bulk_at": served[key].served_in_bulk_at if key in served else None,
            "served_to_browsers_at": served[key].served_to_browsers_at if key in served else None,
        }
        for key, of_key in sorted(by_key.items())
    ]


USAGE = Verb(
    name="usage",
    help="show how often each flag was evaluated, and with which result",
    examples=(
        "usage",
        "usage new_checkout --hours --days 2",
        "usage max_items --values",
        "usage --unknown --days 1",
        "usage --json",
        "usage --prune --older-than 365",
    ),
    add_arguments=_add_usage,
    run=_usage,
    topic=Topic.UPKEEP,
)
