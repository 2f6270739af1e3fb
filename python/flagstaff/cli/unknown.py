from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._engine.usage import usage
from flagstaff._tables.rows import all_rows
from flagstaff.cli.cells import Column
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.usage import add_days, sums
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "list the keys that are asked for and have no flag"
EXAMPLES = (
    "unknown",
    "unknown --days 1 --json",
)

_COLUMNS = (
    Column("key"),
    Column("evaluations", right=True),
    Column("last_evaluated_at", header="LAST ASKED"),
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser how far to look back."""
    add_days(parser)


def run(options: Options, out: Output) -> None:
    """Print the keys, but for those that have a flag by now."""
    found = usage(since=options["days"])
    there = set(all_rows(conf.flag_model).values_list("key", flat=True))
    hours = [hour for hour in found.hours if not hour.defined and hour.key not in there]
    if not hours:
        out.say("no key without a flag was asked for")
    records = [
        {
            "key": record["key"],
            "evaluations": record["true_count"] + record["false_count"],
            "last_evaluated_at": record["last_evaluated_at"],
        }
        for record in sums(hours)
    ]
    out.records(_COLUMNS, records)
