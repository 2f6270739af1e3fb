"""Asks on a terminal before a change that users notice, by the consequence of the change.

The rule and the counts are those of the admin. Without a terminal nothing is asked: scripts are
trusted, and must not wait for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from django.db import transaction

from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence, consequence_of, text_to_type
from flagstaff.changes.impact import Impact, impact_of_changes
from flagstaff.changes.locking import read_rows, require_version
from flagstaff.changes.preview import previewed
from flagstaff.cli.support.change_arguments import may_ask, require_confirmation
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import impact_lines, print_changes
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk, newest_version, require_history, require_triggers

#: The question after the sentences about the users.
GO_ON = "Go on?"


class RowKey(NamedTuple):
    """A row that a write changes."""

    kind: Kind
    key: str
    #: None for a row that is created.
    pk: str | None


def write_confirmed(  # noqa: PLR0913 (what is written, and how it is asked)
    rows: Callable[[], Sequence[RowKey]],
    write: Callable[[], list[Changed]],
    options: Options,
    out: Output,
    *,
    shows: bool = False,
    asks_from: Consequence = Consequence.FEWER,
) -> list[Changed]:
    """Writes, on a terminal after a question if users notice the change. Blocks until the answer.

    `rows` returns what `write` changes, in the order of its results. With `shows`, the question
    also shows the changes. Raises CommandError if the answer is no, and ConflictError if one of the
    rows has been changed since the question.
    """
    if not may_ask(options, out):
        return write()
    keys = rows()
    seen = versions_seen(keys)
    with previewed():
        changes = write()
    found = impact_of_changes((row.kind, one) for row, one in zip(keys, changes, strict=True))
    if consequence_of(found) < asks_from:
        return write()
    if shows:
        print_changes(changes, out)
    ask(found, options, out)
    with unchanged(seen):
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


def row_of(kind: Kind, key: str) -> RowKey:
    """Returns the row that has a key, or else the deleted one that last had it. Queries."""
    row = kind.find(key)
    return RowKey(kind, key, deleted_pk(kind, key) if row is None else str(row.pk))


def versions_seen(rows: Iterable[RowKey]) -> Mapping[RowKey, int | None]:
    """Returns the versions for `unchanged`. Read them first: then newer changes are a conflict."""
    return {row: seen_version(row) for row in rows}


def seen_version(row: RowKey) -> int | None:
    """Returns the version of a row; None if it cannot be known, which a system check reports."""
    try:
        require_history()
        require_triggers(row.kind)
    except NoHistoryError:
        return None
    return None if row.pk is None else newest_version(row.kind, row.pk)


@contextmanager
def unchanged(seen: Mapping[RowKey, int | None]) -> Iterator[None]:
    """Runs the block in a transaction that locks the rows.

    Raises ConflictError if one of them has another version.
    """
    with transaction.atomic(using=conf.database):
        read_rows(((row.kind, row.pk) for row in seen if row.pk is not None), lock=True)
        for (kind, key, pk), version in seen.items():
            require_version(kind, key, pk, version, "run the command again")
        yield
