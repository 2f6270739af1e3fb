"""What the verbs that write have in common: who acts and why, over which version, and surely."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, CommandParser

from flagstaff._attribution.context import attributed, attribution
from flagstaff._tables.users import actor_table
from flagstaff.cli.errors import USAGE
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.wait import add_wait

__all__ = ["add_change", "add_claim", "add_yes", "attributed_by", "confirm"]


def add_change(parser: CommandParser, what: str = "flag", *, nargs: str | None = None) -> None:
    """Give a verb's parser the key that it changes, and what is said of every change."""
    add_key(parser, what, nargs=nargs)
    add_claim(parser)
    add_wait(parser)
    parser.add_argument(
        "--expect-version",
        type=int,
        metavar="N",
        help="refuse if it has another version by now; `history` tells the versions",
    )


def add_claim(parser: CommandParser) -> None:
    """Give a verb's parser who acts, and why."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the history")
    parser.add_argument(
        "--as",
        dest="actor",
        metavar="USER",
        help='who acts, for the history: a primary key, a username, or a name such as "deploy"',
    )


def add_yes(parser: CommandParser) -> None:
    """Give a verb's parser the option that answers its question."""
    parser.add_argument("--yes", action="store_true", help="do not ask first")


@contextmanager
def attributed_by(options: Options) -> Iterator[None]:
    """Put what is written in the block into the history under the name that was typed."""
    if "actor" not in options:
        yield
        return
    told = attribution(_actor(options["actor"]), source="command", reason=options["reason"])
    with attributed(lambda: told):
        yield


def confirm(question: str, options: Options, out: Output) -> None:
    """Ask the person. Raises CommandError where the answer is no, or where nobody is there."""
    if options["yes"]:
        return
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to be asked; say --yes", returncode=USAGE)
    out.say(f"{question} [y/N]")
    if input().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was changed", returncode=USAGE)


def _actor(typed: str | None) -> str | None:
    """The primary key of whoever has this username, or what was typed."""
    if not typed:
        return None
    return str(actor_table().find_many([typed]).get(typed, typed))
