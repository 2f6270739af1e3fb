"""Evaluation counts: usage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from flagstaff._engine.usage import (
    HourlyUsage,
    Usage,
    UsagePeriod,
    prune_usage_in_batches,
    require_usage,
    unknown_keys,
    usage,
    usage_period,
)
from flagstaff._words.cells import Column, Record
from flagstaff._words.times import full_time
from flagstaff.cli.support.argument_types import days
from flagstaff.cli.support.errors import USAGE as USAGE_ERROR
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf


def _result_text(record: Record) -> str:
    result: str = record["result"]
    if not result.isdecimal():
        return result
    return f"rule {result}" if int(result) else "the value itself"


_COLUMNS = (
    Column("key"),
    Column("result", _result_text),
    Column("count", align_right=True),
    Column("last_at"),
)
_TURNED_OFF = "usage is turned off in this process: USAGE_INTERVAL is 0"


def _add_usage(parser: CommandParser) -> None:
    parser.add_argument("key", metavar="KEY", nargs="?", help="the key; by default all")
    parser.add_argument("--days", type=days, metavar="N", help="only the last N days")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--hours", action="store_true", help="show each hour separately")
    shown.add_argument(
        "--unknown", action="store_true", help="only keys that are evaluated but have no flag"
    )
    add_prune(parser)


def _usage(options: Options, out: Output) -> None:
    key, age = options["key"], options["days"]
    if options["prune"]:
        run_prune(options, out, _prune, "usage")
        return
    if options["unknown"]:
        if key is not None:
            message = "--unknown lists all keys without a flag: leave out KEY"
            raise CommandError(message, returncode=USAGE_ERROR)
        require_usage()
        # Before the keys, which include at least what was reported until then.
        counted: Usage | UsagePeriod = usage_period()
        hours, _number = unknown_keys(age)
    else:
        counted = usage(key, since=age)
        hours = counted.hours
    records = [*map(vars, hours)] if options["hours"] else _totals(hours)
    if not records:
        out.message("no matching entries")
    out.records((Column("hour"), *_COLUMNS) if options["hours"] else _COLUMNS, records)
    out.message(_period(counted, age))


def _prune(older_than: timedelta) -> int:
    return sum(prune_usage_in_batches(timezone.now() - older_than))


def _totals(hours: Iterable[HourlyUsage]) -> list[Record]:
    """Returns one record per key and result, with the sum of its hours."""
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for hour in hours:
        first = {"key": hour.key, "result": hour.result, "count": 0, "last_at": hour.last_at}
        total = totals.setdefault((hour.key, hour.result), first)
        total["count"] += hour.count
        total["last_at"] = max(total["last_at"], hour.last_at)
    return [totals[place] for place in sorted(totals)]


def _period(counted: Usage | UsagePeriod, age: timedelta | None) -> str:
    """Says which time the counts cover."""
    interval, since, until = conf.usage_interval, counted.since, counted.until
    reports = f"workers report every {interval:g} s" if interval else _TURNED_OFF
    if since is None or until is None:
        return f"no worker has reported its usage yet; {reports}"
    if age is not None:
        since = max(since, timezone.now() - age)
    return f"counted from {full_time(since)} until {full_time(until)}; {reports}"


USAGE = Verb(
    name="usage",
    help="show how often each key was evaluated, and with which result",
    examples=(
        "usage",
        "usage new_checkout --hours --days 2",
        "usage --unknown --days 1",
        "usage --json",
        "usage --prune --older-than 365",
    ),
    add_arguments=_add_usage,
    run=_usage,
    topic=Topic.UPKEEP,
)
