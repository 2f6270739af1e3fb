"""What the verbs that delete what is old have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.core.management.base import CommandError, CommandParser

from flagstaff.cli.errors import USAGE
from flagstaff.cli.numbers import age
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_yes, confirm

__all__ = ["add_prune", "run_prune"]


def add_prune(parser: CommandParser) -> None:
    """Give a verb's parser what is to be deleted."""
    parser.add_argument("--prune", action="store_true", help="delete what is older than …")
    parser.add_argument("--older-than", type=age, metavar="DAYS", help="… so many days")
    add_yes(parser)


def run_prune(options: Options, out: Output, prune: Callable[[timedelta], int], what: str) -> None:
    """Ask, delete, and tell how many entries of this there were."""
    if options["older_than"] is None or options["key"]:
        raise CommandError("--prune goes with --older-than, and with no key", returncode=USAGE)
    days = options["older_than"].days
    confirm(f"Delete what is older than {days} days? It cannot be undone.", options, out)
    count = prune(options["older_than"])
    out.say(f"deleted {count:,} {'entry' if count == 1 else 'entries'} of the {what}")
    if out.is_json:
        out.document({"deleted": count})
