from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_yes, confirm
from flagstaff.history import forget_user

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "take a user who was deleted out of the history"
EXAMPLES = ("forget-user 42 --yes",)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the primary key."""
    parser.add_argument("pk", metavar="PK", help="the primary key that the user had")
    add_yes(parser)


def run(options: Options, out: Output) -> None:
    """Take the user out, and say of how much."""
    pk = options["pk"]
    confirm(f"Take user {pk} out of the history? It cannot be undone.", options, out)
    count = forget_user(pk)
    out.say(f"{count:,} {'entry' if count == 1 else 'entries'} named user {pk}, and none does now")
    if out.is_json:
        out.document({"pk": pk, "entries": count})
