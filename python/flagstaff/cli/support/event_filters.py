"""Arguments that select events of the history, and messages if there are none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from django.core.management.base import CommandParser
from django.db import Error, transaction

from flagstaff._tables.rows import unknown_key
from flagstaff._tables.user_lookup import actor_table
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, ChangeQuerySet, entries_of_key


def add_actor_filter(parser: CommandParser) -> None:
    """Adds --by."""
    parser.add_argument(
        "--by",
        metavar="USER",
        help='only changes of this actor: a username, a primary key, or a name such as "deploy"',
    )


def matching_entries(options: Options, kinds: Collection[Kind]) -> ChangeQuerySet:
    """Returns the entries of these kinds with the actor and in the time of the arguments."""
    entries = Change.objects.of_kinds(kinds)
    if options["since"] is not None:
        entries = entries.since(options["since"])
    if options["until"] is not None:
        entries = entries.until(options["until"])
    return entries if options["by"] is None else entries.by(options["by"])


def require_key(key: str, kinds: Sequence[Kind]) -> None:
    """Raises the error about an unknown key, unless a row has the key or had it."""
    for kind in kinds:
        if kind.find(key) is not None or entries_of_key(kind, key).exists():
            return
    if len(kinds) == 1:
        kinds[0].row(key)  # Raises, because there is no such row.
    raise unknown_key(key)


def print_similar_actor(name: str | None, out: Output) -> None:
    """Prints that no user has this name, with a similar name, if there is one."""
    if name is None:
        return
    table = actor_table()
    with suppress(Error), transaction.atomic(using=table.database):
        if not table.find_many([name]):
            out.message(f"no user has the primary key or username {name!r}{table.guess(name)}")
