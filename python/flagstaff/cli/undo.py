from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.cli.outcomes import tell_change, tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "take back one change, by default the newest"
EXAMPLES = (
    "undo new_checkout",
    "undo new_checkout 17",
    "undo payment_gateway 18 --value",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the change."""
    add_change(parser)
    parser.add_argument(
        "change", metavar="CHANGE", type=int, nargs="?", help="a version that `history` tells"
    )
    parser.add_argument("--value", action="store_true", help="the key is a value's")


def run(options: Options, out: Output) -> None:
    """Take it back, and tell of it."""
    key, change, version = options["key"], options["change"], options["expect_version"]
    if options["value"]:
        tell_change(changes.undo_value(key, change, expect_version=version), out, options)
    else:
        tell_change_of_flag(changes.undo(key, change, expect_version=version), out, options)
