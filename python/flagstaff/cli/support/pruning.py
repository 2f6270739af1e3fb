"""`--prune --older-than DAYS`: deletes old entries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.text import counted
from flagstaff.cli.support.argument_types import age
from flagstaff.cli.support.change_arguments import add_dry_run, add_yes, require_confirmation
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import finish


def add_prune(parser: CommandParser) -> None:
    """Adds --prune, --older-than, --yes and --dry-run."""
    parser.add_argument(
        "--prune", action="store_true", help="delete the entries that are older than DAYS days"
    )
    parser.add_argument("--older-than", type=age, metavar="DAYS", help="the age for --prune")
    add_yes(parser)
    add_dry_run(parser)


def run_prune(options: Options, out: Output, prune: Callable[[timedelta], int], name: str) -> None:
    """Asks for confirmation and deletes. `name` is what the entries are of, such as "history"."""
    if options["older_than"] is None or (options.get("key") or options.get("keys")):
        raise CommandError("use --prune with --older-than DAYS and without KEY", returncode=USAGE)
    days = options["older_than"].days
    question = f"Delete all {name} entries older than {days} days? This cannot be undone."
    require_confirmation(question, options, out)
    count = prune(options["older_than"])
    out.message(f"deleted {counted(count, f'{name} entry', f'{name} entries')}")
    finish({"deleted": count}, out, options, written=count > 0)
