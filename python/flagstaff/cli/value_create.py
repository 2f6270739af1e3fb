from __future__ import annotations

import sys

from django.core.management.base import CommandParser

from flagstaff.changes import create_value
from flagstaff.cli.outcomes import tell_change
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.value_set import parsed
from flagstaff.cli.writing import add_claim

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "create a value from a JSON text"
EXAMPLES = ("value create page_size 20", "value create mail_password - --secret < password.json")


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the JSON."""
    add_key(parser, "value")
    parser.add_argument("text", metavar="JSON", help='such as 50; "-" reads it from the input')
    add_claim(parser)
    parser.add_argument("--description", metavar="TEXT", help="what it is for")
    parser.add_argument("--secret", action="store_true", help="the history keeps a digest of it")


def run(options: Options, out: Output) -> None:
    """Create it, and tell of it."""
    key = options["key"]
    text = sys.stdin.read() if options["text"] == "-" else options["text"]
    fields = {"description": options["description"], "secret": options["secret"] or None}
    told = {name: value for name, value in fields.items() if value is not None}
    value = parsed(key, text, verb="create", secret=options["secret"])
    changed = create_value(key, value, **told)
    tell_change(changed, out, options)
