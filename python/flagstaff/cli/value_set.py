from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import value_row
from flagstaff.changes import Changed, set_value
from flagstaff.cli.errors import USAGE
from flagstaff.cli.outcomes import tell_change
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.values import as_stored
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "parsed", "run"]

HELP = "set a value to what a JSON text says"
EXAMPLES = (
    "value set page_size 50",
    "value set payment_gateway '\"stripe\"'",
    "value set opening_hours - < hours.json",
)

_HELP_OF_JSON = """such as 50, true, '"stripe"' or '["a", "b"]'; "-" reads it from the input"""


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the JSON."""
    add_change(parser, "value")
    parser.add_argument("text", metavar="JSON", help=_HELP_OF_JSON)


def run(options: Options, out: Output) -> None:
    """Set the value, and tell of it. A secret one is told nowhere, and its undo neither."""
    key = options["key"]
    # A key that is not there is told of before the text is read.
    secret = is_secret(value_row(key))
    text = sys.stdin.read() if options["text"] == "-" else options["text"]
    value = parsed(key, text, secret=secret)
    changed = set_value(key, value, expect_version=options["expect_version"])
    tell_change(_as_stored(changed), out, options)


def parsed(key: str, text: str, *, verb: str = "set", secret: bool = False) -> Any:
    """What a JSON text says."""
    try:
        return json.loads(text)
    except ValueError as error:
        # What was read from a file would stand in the log of whoever runs this.
        shown = "…" if secret else text.strip()
        typed = shlex.join([key, json.dumps(shown, ensure_ascii=False)])
        raise CommandError(
            f"this is not JSON: {error}; a text is typed: manage.py flags value {verb} {typed}",
            returncode=USAGE,
        ) from error


def _as_stored(changed: Changed) -> Changed:
    """The change in the words of JSON."""
    old, new = as_stored(changed.old), as_stored(changed.new)
    return replace(changed, old=old, new=new)
