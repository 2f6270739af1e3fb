from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._tables.rows import value_row
from flagstaff.changes import delete_value
from flagstaff.cli.outcomes import tell_change
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change, add_yes, confirm
from flagstaff.exceptions import UnknownValueError

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "delete a value: whoever asks gets the default"
EXAMPLES = ("value unset payment_gateway --yes",)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key."""
    add_change(parser, "value")
    add_yes(parser)


def run(options: Options, out: Output) -> None:
    """Delete it, and tell of it. What is deleted already needs no question."""
    key = options["key"]
    try:
        value_row(key)
    except UnknownValueError:
        pass
    else:
        confirm(f"Delete the value {key}?", options, out)
    changed = delete_value(key, expect_version=options["expect_version"])
    tell_change(changed, out, options)
