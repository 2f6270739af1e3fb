"""Arguments of the verbs that write: the key, the actor and reason, the expected version, --yes."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from django.core.management.base import CommandError, CommandParser

from flagstaff._attribution.context import attributed, attribution
from flagstaff._tables.user_lookup import UserTable, actor_table
from flagstaff.actions.arguments import is_input_closed
from flagstaff.cli.support.errors import USAGE, CancelledError
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import add_wait
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_UNCHANGED = "nothing was changed"
# Characters of the name of a shell user, in the history.
_MAX_SHELL_USER = 100


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
    add_expected_version(parser)


def add_expected_version(parser: CommandParser) -> None:
    """Adds --expect-version."""
    parser.add_argument(
        "--expect-version",
        type=int,
        metavar="N",
        help="refuse the change if the version is not N; `history` shows versions",
    )


def add_dry_run(parser: CommandParser) -> None:
    """Adds --dry-run. `flagstaff.cli.main` rolls back everything that the verb writes."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would change, and write nothing",
    )


def add_attribution(
    parser: CommandParser, record: str = "history", *, dry_run: bool = True
) -> None:
    """Adds --reason, --as, --as-name and --dry-run. `record` is what stores the first three.

    With REQUIRE_REASON, the history and the events of an experiment need a reason, unless the
    parser has another default.
    """
    parser.set_defaults(needs_reason=record in {"history", "events"})
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help=f"the reason, for the {record}"
    )
    actors = parser.add_mutually_exclusive_group()
    actors.add_argument(
        "--as",
        dest="actor",
        metavar="USER",
        help=f"the actor, for the {record}: the primary key or username of a user",
    )
    actors.add_argument(
        "--as-name",
        dest="actor_name",
        metavar="NAME",
        help='an actor that is not a user, such as "deploy"',
    )
    if dry_run:
        add_dry_run(parser)


def add_yes(parser: CommandParser) -> None:
    """Adds --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


@contextmanager
def attributed_to_actor(options: Options, out: Output) -> Iterator[None]:
    """Attributes the changes in the block to --as and --reason, if the verb has these options.

    Without an actor, the source of changes from a terminal contains the user of the shell. Queries
    users, and raises FlagstaffError if the actor is not one.
    """
    if "actor" not in options:
        yield
        return
    # `import` has a --dry-run of its own.
    is_dry_run = out.is_dry_run or options.get("only_plan", False)
    needs_reason = options["needs_reason"] and not is_dry_run
    if conf.require_reason and needs_reason and not options["reason"].strip():
        raise CommandError(
            "a reason is required by the setting REQUIRE_REASON: pass --reason TEXT",
            returncode=USAGE,
        )
    actor, source = _actor(options["actor"], options["actor_name"]), "command"
    if actor is None and out.is_interactive and (shell_user := _shell_user()):
        source = f"command ({shell_user})"
    claim = attribution(actor, source=source, reason=options["reason"])
    with attributed(lambda: claim):
        yield


def is_terminal() -> bool:
    """Whether a person can type an answer."""
    return not is_input_closed() and sys.stdin.isatty()


def may_ask(options: Options, out: Output) -> bool:
    """Whether a person started the command on a terminal, without --yes and --dry-run."""
    return out.is_attended and is_terminal() and not (options["yes"] or out.is_dry_run)


def require_confirmation(question: str, options: Options, out: Output, *, typed: str = "") -> None:
    """Asks on the terminal, unless --yes or --dry-run is given. Blocks until the answer.

    `typed` is the text that the person has to type in the place of "y". Raises CommandError if the
    answer is another one, or if there is no terminal.
    """
    if options["yes"] or out.is_dry_run:
        return
    if not is_terminal():
        raise CommandError("not a terminal: pass --yes to confirm", returncode=USAGE)
    out.message(f"{question} [type {typed} to confirm]" if typed else f"{question} [y/N]")
    try:
        answer = input()
    except EOFError:  # Ctrl-D
        answer = ""
    if typed and answer.strip() and answer.split() != typed.split():
        raise CommandError(f"not confirmed: type {typed} exactly; {_UNCHANGED}", returncode=USAGE)
    if not answer.strip() or not (typed or answer.strip().lower() in {"y", "yes"}):
        raise CancelledError(f"cancelled; {_UNCHANGED}", returncode=USAGE)


def _actor(user: str | None, name: str | None) -> str | None:
    """Returns the primary key of the user, or else the name. Queries users."""
    if "" in (user, name):
        raise FlagstaffError("the actor is empty: pass a user to --as, or a name to --as-name")
    table = actor_table()
    if name is not None:
        if table.names([name]):
            # The history would show the user.
            raise FlagstaffError(
                "{name} is the primary key of a user; pass --as, or use another name",
                name=repr(name),
            )
        return name
    if user is None:
        return None
    pk = table.find_many([user]).get(user)
    return str(pk) if pk is not None else _no_such_actor(table, user)


def _no_such_actor(table: UserTable, text: str) -> NoReturn:
    _, shared = table.by_username([text])
    if shared:
        raise FlagstaffError(
            "several users have the username {name}; pass a primary key", name=repr(text)
        )
    raise FlagstaffError(
        "no user has the primary key or username {name}; to record a name that is not a user, "
        "pass --as-name {quoted}{guess}",
        name=repr(text),
        quoted=shlex.quote(text),
        guess=table.guess(text),
    )


def _shell_user() -> str | None:
    """Returns the user of the operating system, who may have become root with sudo."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on Python
        return None
    # Not UTF-8 in every environment. A name that cannot be stored must not stop a change.
    return os.fsencode(name).decode(errors="replace").replace("\0", "")[:_MAX_SHELL_USER]
