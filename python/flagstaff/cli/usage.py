from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from flagstaff._engine.usage import HourlyUsage, prune_usage, usage
from flagstaff.cli.cells import Column
from flagstaff.cli.numbers import days
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.pruning import add_prune, run_prune

__all__ = ["EXAMPLES", "HELP", "add_arguments", "add_days", "run", "sums"]

HELP = "tell how often flags were asked for, and with which answer"
EXAMPLES = (
    "usage",
    "usage new_checkout --hours --days 2",
    "usage --json",
    "usage --prune --older-than 365",
)

_KEY, _LAST = Column("key"), Column("last_evaluated_at", header="LAST ASKED")
_COUNTS = (Column("true_count", right=True), Column("false_count", right=True))
_IN_ALL = (_KEY, *_COUNTS, _LAST)
_BY_HOUR = (Column("hour"), _KEY, *_COUNTS)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser what to tell, and of how long."""
    parser.add_argument("key", metavar="KEY", nargs="?", help="the key of the flag; else all flags")
    add_days(parser)
    parser.add_argument("--hours", action="store_true", help="each hour by itself")
    add_prune(parser)


def run(options: Options, out: Output) -> None:
    """Print what was asked, and by which workers there is no farewell."""
    if options["prune"]:
        run_prune(options, out, prune_usage, "usage")
        return
    found = usage(options["key"], since=options["days"])
    hours = [hour for hour in found.hours if hour.defined]
    if not hours:
        out.say("no usage is written down")
    if options["hours"]:
        records = [
            {"hour": h.hour, "key": h.key, "true_count": h.true_count, "false_count": h.false_count}
            for h in hours
        ]
        out.records(_BY_HOUR, records)
    else:
        out.records(_IN_ALL, sums(hours))
    for worker in found.lost:
        out.say(
            f"process {worker.pid} on {worker.host} has said no farewell: what it was asked after "
            f"{worker.last_seen_at:%Y-%m-%d %H:%M:%S} may be missing"
        )


def add_days(parser: CommandParser) -> None:
    """Give a verb's parser how far to look back."""
    parser.add_argument("--days", type=days, metavar="N", help="only the last so many days")


def sums(hours: Iterable[HourlyUsage]) -> list[dict[str, Any]]:
    """The hours of each key in one record."""
    records: dict[str, dict[str, Any]] = {}
    for hour in hours:
        first = {
            "key": hour.key,
            "true_count": 0,
            "false_count": 0,
            "last_evaluated_at": hour.last_evaluated_at,
        }
        record = records.setdefault(hour.key, first)
        record["true_count"] += hour.true_count
        record["false_count"] += hour.false_count
        record["last_evaluated_at"] = max(record["last_evaluated_at"], hour.last_evaluated_at)
    return [records[key] for key in sorted(records)]
