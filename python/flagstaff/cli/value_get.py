from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._tables.rows import value_row
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.values import value_record

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "print a value as JSON"
EXAMPLES = ("value get payment_gateway",)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key."""
    add_key(parser, "value")


def run(options: Options, out: Output) -> None:
    """Print the value, or with --json all that is known of it."""
    record = value_record(value_row(options["key"]))
    if out.is_json:
        out.document(record)
    else:
        out.document(record["value"], indent=None)
