"""Evaluation counts: usage."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from flagstaff._engine.unknown_keys import UnknownKeys, unknown_keys
from flagstaff._engine.usage import HourlyUsage, Usage, prune_usage, usage
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
_RESULTS = {"true": "true_count", "false": "false_count"}
_BULK_COLUMNS = {"bulk": "served_in_bulk_at", "browsers": "served_to_browsers_at"}
_NO_USAGE = {
    **dict.fromkeys(_RESULTS.values(), 0),
    **dict.fromkeys(("last_evaluated_at", *_BULK_COLUMNS.values())),
}
_TURNED_OFF = "usage is turned off in this process: USAGE_INTERVAL is 0"
_VALUE_COLUMNS = (
    _KEY,
    Column("result"),
    Column("count", align_right=True),
    Column("last_evaluated_at", header="LAST EVALUATED"),
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
    columns, records = (_hours if options["hours"] else _totals)(counts.hours)
    if not records:
        out.message("no matching entries")
    out.records(columns, records)
    out.message(_period(counts, options["days"]))


def _show_values(counts: Usage, age: timedelta | None, out: Output) -> None:
    sums: dict[tuple[str, int], list[HourlyUsage]] = defaultdict(list)
    for hour in counts.hours:
        if hour.result.isdecimal():
            sums[hour.key, int(hour.result)].append(hour)
    if not sums:
        out.message("no matching entries")
    records = [
        {
            "key": key,
            "result": f"rule {rule}" if rule else "the value itself",
            "count": sum(hour.count for hour in hours),
            "last_evaluated_at": max(hour.last_at for hour in hours),
        }
        for (key, rule), hours in sorted(sums.items())
    ]
    out.records(_VALUE_COLUMNS, records)
    out.message(_period(counts, age))


def _period(counts: Usage | UnknownKeys, age: timedelta | None) -> str:
    """Says which time the counts cover."""
    interval = conf.usage_interval
    reports = f"workers report every {interval:g} s" if interval else _TURNED_OFF
    since, until = counts.since, counts.until
    if since is None or until is None:
        return f"no worker has reported its usage yet; {reports}"
    if age is not None:
        since = max(since, timezone.now() - age)
    return f"counted from {full_time(since)} until {full_time(until)}; {reports}"


def _hours(hours: Iterable[HourlyUsage]) -> tuple[Sequence[Column], list[Record]]:
    """Returns one record per hour and key, with the results of flags."""
    counts: dict[tuple[datetime, str], Counter[str]] = defaultdict(Counter)
    for hour in hours:
        if hour.result in _RESULTS:
            counts[hour.hour, hour.key][hour.result] += hour.count
    records: list[Record] = [
        {"hour": hour, "key": key, **{_RESULTS[result]: of_key[result] for result in _RESULTS}}
        for (hour, key), of_key in counts.items()
    ]
    return (_HOUR, _KEY, *_COUNTS), records


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


def _totals(hours: Iterable[HourlyUsage]) -> tuple[Sequence[Column], list[Record]]:
    """Returns one record per flag, with the sums of its hours."""
    records: dict[str, dict[str, Any]] = {}
    names = {**dict.fromkeys(_RESULTS, "last_evaluated_at"), **_BULK_COLUMNS}
    for hour in hours:
        if hour.result not in names:
            continue
        record = records.setdefault(hour.key, {"key": hour.key, **_NO_USAGE})
        if hour.result in _RESULTS:
            record[_RESULTS[hour.result]] += hour.count
        name = names[hour.result]
        record[name] = max(record[name] or hour.last_at, hour.last_at)
    has_bulk = any(record[name] for record in records.values() for name in _BULK_COLUMNS.values())
    columns = (_KEY, *_COUNTS, _LAST, *(_BULK if has_bulk else ()))
    return columns, [records[key] for key in sorted(records)]


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
