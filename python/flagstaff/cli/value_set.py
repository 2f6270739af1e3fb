from __future__ import annotations

import json
import shlex
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff.changes import Changed, set_value
from flagstaff.cli.cells import as_json
from flagstaff.cli.errors import USAGE
from flagstaff.cli.outcomes import tell_change
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.values import as_stored, is_secret
from flagstaff.cli.wait import add_wait, check_wait
from flagstaff.rows import value_row

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "set a value to what a JSON text says"
EXAMPLES = (
    "value set page_size 50",
    "value set payment_gateway '\"stripe\"'",
    "value set opening_hours - < hours.json",
)

_HELP_OF_JSON = """such as 50, true, '"stripe"' or '["a", "b"]'; "-" reads it from the input"""


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key, the JSON, and whether to wait."""
    add_key(parser, "value")
    parser.add_argument("text", metavar="JSON", help=_HELP_OF_JSON)
    add_wait(parser)


def run(options: Options, out: Output) -> None:
    """Set the value, and tell of it. A secret one is told nowhere, and its undo neither."""
    check_wait(options)
    key, secret = options["key"], is_secret(value_row(options["key"]))
    text = sys.stdin.read() if options["text"] == "-" else options["text"]
    changed = _as_stored(set_value(key, _parsed(key, text, secret=secret)))
    # There may have been none: a NULL of a project's own table, or one that SQL has written.
    no_undo = secret or changed.old is None
    undo = None if no_undo else ["value", "set", key, as_json(changed.old)]
    tell_change(changed, undo, out, options, secret=secret)


def _parsed(key: str, text: str, *, secret: bool) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        # What was read from a file would stand in the log of whoever runs this.
        shown = "…" if secret else text.strip()
        typed = shlex.join([key, json.dumps(shown, ensure_ascii=False)])
        raise CommandError(
            f"this is not JSON: {error}; a text is typed: manage.py flags value set {typed}",
            returncode=USAGE,
        ) from error


def _as_stored(changed: Changed) -> Changed:
    """The change in the words of JSON."""
    old, new = as_stored(changed.old), as_stored(changed.new)
    return Changed(changed.key, changed.field, old, new, changed.written)
