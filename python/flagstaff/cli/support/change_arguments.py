"""Arguments of the verbs that write: the key, the actor and reason, the expected version, --yes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, CommandParser

from flagstaff._attribution.context import attributed, attribution
from flagstaff._tables.user_lookup import actor_table
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.standard_input import is_terminal
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import add_wait

__all__ = [
    "add_attribution",
    "add_change_arguments",
    "add_key",
    "add_value_change_arguments",
    "add_yes",
    "attributed_to_actor",
    "require_confirmation",
]


def add_key(parser: CommandParser, thing: str = "flag", *, optional: bool = False) -> None:
    """Adds KEY. `thing` is what the key belongs to."""
    nargs = "?" if optional else None
    parser.add_argument("key", metavar="KEY", nargs=nargs, help=f"the key of the {thing}")


def add_change_arguments(
    parser: CommandParser, thing: str = "flag", *, optional_key: bool = False
) -> None:
    """Adds the arguments of every change of an existing flag or value."""
    add_key(parser, thing, optional=optional_key)
    add_attribution(parser)
    add_wait(parser)
    parser.add_argument(
        "--expect-version",
        type=int,
        metavar="N",
        help="refuse the change if the version is not N; `history` shows versions",
    )


def add_value_change_arguments(parser: CommandParser) -> None:
    """Adds the arguments of every change of an existing value."""
    add_change_arguments(parser, "value")


def add_attribution(parser: CommandParser) -> None:
    """Adds --reason and --as."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, for the history")
    parser.add_argument(
        "--as",
        dest="actor",
        metavar="USER",
        help='the actor, for the history: a primary key, a username, or a name such as "deploy"',
    )


def add_yes(parser: CommandParser) -> None:
    """Adds --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


@contextmanager
def attributed_to_actor(options: Options) -> Iterator[None]:
    """Attributes the changes in the block to --as and --reason, if the verb has these options."""
    if "actor" not in options:
        yield
        return
    claim = attribution(_actor(options["actor"]), source="command", reason=options["reason"])
    with attributed(lambda: claim):
        yield


def require_confirmation(question: str, options: Options, out: Output) -> None:
    """Asks on the terminal, unless --yes is given. Blocks until the answer.

    Raises CommandError if the answer is no, or if there is no terminal.
    """
    if options["yes"]:
        return
    if not is_terminal():
        raise CommandError("not a terminal: pass --yes to confirm", returncode=USAGE)
    out.message(f"{question} [y/N]")
    try:
        answer = input()
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("cancelled; nothing was changed", returncode=USAGE)


def _actor(text: str | None) -> str | None:
    """Returns the primary key of the user, or `text` itself if no user fits. Queries users."""
    if not text:
        return None
    return str(actor_table().find_many([text]).get(text, text))
