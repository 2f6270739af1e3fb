"""Asks on a terminal before a change, by what it means for the users.

The rule and the counts are those of the admin. Without a terminal nothing is asked, but for what
needs --yes: scripts are trusted, and must not wait for an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.core.management.base import CommandError
from django.db import transaction

from flagstaff._words.text import counted
from flagstaff.actions.arguments import is_input_closed
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence, consequence_of, impact_lines, text_to_type
from flagstaff.changes.impact import Impact, impact_of_changes
from flagstaff.changes.locking import read_rows, require_version
from flagstaff.changes.preview import previewed
from flagstaff.cli.errors import USAGE, CancelledError
from flagstaff.cli.options import add_dry_run, add_yes, days
from flagstaff.cli.output import Output
from flagstaff.cli.report import print_changes
from flagstaff.cli.verb import Options, option, switch, together
from flagstaff.cli.wait import finish
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import newest_version, require_history, require_triggers

#: The question after the sentences about the users.
GO_ON = "Go on?"
_UNCHANGED = "nothing was changed"


class RowKey(NamedTuple):
    """A row that a write changes."""

    kind: Kind
    key: str
    #: None for a row that is created.
    pk: str | None


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
        answer = input().split()
    except EOFError:  # Ctrl-D
        answer = []
    if typed and answer not in ([], typed.split()):
        raise CommandError(f"not confirmed: type {typed} exactly; {_UNCHANGED}", returncode=USAGE)
    if not answer or not (typed or " ".join(answer).lower() in {"y", "yes"}):
        raise CancelledError(f"cancelled; {_UNCHANGED}", returncode=USAGE)


def write_confirmed(  # noqa: PLR0913 (what is written, and how it is asked)
    rows: Sequence[RowKey],
    write: Callable[[], list[Changed]],
    options: Options,
    out: Output,
    *,
    shows: bool = False,
    asks_from: Consequence = Consequence.FEWER,
) -> list[Changed]:
    """Writes, on a terminal after a question if users notice the change. Blocks until the answer.

    `rows` are what `write` changes, in the order of its results. With `shows`, the question also
    shows the changes. Raises CommandError if the answer is no, and ConflictError if one of the rows
    has been changed since the question.
    """
    if not may_ask(options, out):
        return write()
    # Before the preview: then newer changes are a conflict.
    seen = {row: _seen_version(row) for row in rows}
    with previewed():
        changes = write()
    found = impact_of_changes((row.kind, one) for row, one in zip(seen, changes, strict=True))
    if consequence_of(found) < asks_from:
        return write()
    if shows:
        print_changes(changes, out)
    ask(found, options, out)
    with transaction.atomic(using=conf.database):
        read_rows(((row.kind, row.pk) for row in seen if row.pk is not None), lock=True)
        for (kind, key, pk), version in seen.items():
            require_version(kind, key, pk, version, "run the command again")
        return write()


def ask(found: Impact, options: Options, out: Output, text: str = GO_ON) -> None:
    """Prints what happens to the users, and asks. Blocks until the answer.

    Raises CommandError if the answer is no.
    """
    lines = [*impact_lines(found)]
    for line in lines[:-1]:
        out.message(line)
    question = " ".join([*lines[-1:], text])
    require_confirmation(question, options, out, typed=text_to_type(found))


def _seen_version(row: RowKey) -> int | None:
    """Returns the version of a row; None if it cannot be known, which a system check reports."""
    try:
        require_history()
        require_triggers(row.kind)
    except NoHistoryError:
        return None
    return None if row.pk is None else newest_version(row.kind, row.pk)


# `--prune --older-than DAYS`.

add_prune = together(
    switch("--prune", "delete the entries that are older than DAYS days"),
    option("--older-than", "the age for --prune", "DAYS", type=days),
    add_yes,
    add_dry_run,
)


def run_prune(options: Options, out: Output, prune: Callable[[timedelta], int], name: str) -> None:
    """Asks for confirmation and deletes. `name` is what the entries are of, such as "history"."""
    age = options["older_than"]
    if age is None or (options.get("key") or options.get("keys")):
        raise CommandError("use --prune with --older-than DAYS and without KEY", returncode=USAGE)
    question = f"Delete all {name} entries older than {age.days} days? This cannot be undone."
    require_confirmation(question, options, out)
    count = prune(age)
    out.message(f"deleted {counted(count, f'{name} entry', f'{name} entries')}")
    finish({"deleted": count}, out, options, written=count > 0)
