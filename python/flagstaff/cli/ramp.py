from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff.changes import set_rollout
from flagstaff.cli.numbers import percent
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "roll a flag out to a share of all users"
EXAMPLES = (
    "ramp new_checkout 5",
    "ramp new_checkout 25%",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the percent."""
    add_change(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=percent, help="a whole number from 0 to 100"
    )


def run(options: Options, out: Output) -> None:
    """Set the rollout, and tell of it."""
    changed = set_rollout(
        options["key"], options["percent"], expect_version=options["expect_version"]
    )
    tell_change_of_flag(changed, out, options)
