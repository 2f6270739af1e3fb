from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff._tables.rows import flag_row
from flagstaff.cli.flags import flag_record, who_has_it
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change, add_yes, confirm
from flagstaff.exceptions import UnknownFlagError

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "delete a flag and its allow-list"
EXAMPLES = ("delete new_checkout --yes",)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key."""
    add_change(parser)
    add_yes(parser)


def run(options: Options, out: Output) -> None:
    """Delete it, and tell of it. What is deleted already needs no question."""
    key = options["key"]
    try:
        who = who_has_it(flag_record(flag_row(key)))
    except UnknownFlagError:
        pass
    else:
        confirm(f"Delete {key}? {who}", options, out)
    tell_change_of_flag(changes.delete(key, expect_version=options["expect_version"]), out, options)
