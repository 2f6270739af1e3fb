"""Undo: of an event, back to a version, since a time, of a transaction. Each selects entries."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.db import Error, transaction

from flagstaff._tables.rows import unknown_key
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import counted
from flagstaff.changes import Changed
from flagstaff.changes.changed import command_words
from flagstaff.changes.consequence import Consequence, consequence_of
from flagstaff.changes.impact import impact
from flagstaff.changes.undo import (
    RowId,
    Undone,
    entries_after,
    entries_of_transaction,
    event_of,
    preview_undo,
    restore_row,
    undo,
)
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import (
    add_attribution,
    add_expected_version,
    add_key,
    add_kinds,
    add_period,
    add_wait,
    add_yes,
    chosen_kinds,
)
from flagstaff.cli.output import Output
from flagstaff.cli.question import GO_ON, ask, may_ask
from flagstaff.cli.receipt import print_changes
from flagstaff.cli.verb import Changes, Options, Topic, Verb, switch, verb
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, ChangeQuerySet, entries_of_key

# Entries that one undo takes.
_MAX_ENTRIES = 1_000
_CHANGE = (add_attribution, add_wait, add_yes)


def _add_version(parser: Any, nargs: str | None = None) -> None:
    parser.add_argument(
        "version", metavar="VERSION", nargs=nargs, type=int, help="a version that `history` shows"
    )


def _place(options: Options) -> tuple[Any, Any]:
    return options["key"], options["version"]


def undo_verbs(kind: Kind, key: str) -> tuple[Verb, Verb]:
    """Returns `undo` and `restore` of a kind of row. `key` is that of the examples."""
    words = " ".join(command_words(kind, "undo", key))
    shared = (partial(add_key, thing=kind.value), add_expected_version, *_CHANGE)

    @verb(
        *(words, f"{words} 17"),
        name="undo",
        topic=Topic.INCIDENT,
        arguments=(*shared, partial(_add_version, nargs="?")),
    )
    def undo_newest(options: Options, out: Output) -> Changes:
        """Undo one change, by default the newest.

        Newer changes of other fields stay. If the same field has been changed again since then, the
        undo is refused: the message says what is in the field now. Also takes the key of a row that
        was deleted.
        """
        return Changes(_changes(_undone(event_of(kind, *_place(options)), options, out)))

    words = " ".join(command_words(kind, "restore", key, "17"))

    @verb(
        *(words, f"{words} --dry-run"),
        topic=Topic.INCIDENT,
        arguments=(*shared, _add_version),
    )
    def restore(options: Options, out: Output) -> Changes:
        """Restore the state after a change, by undoing all newer changes.

        Also takes the key of a row that was deleted. Users who no longer exist are skipped and
        listed.
        """
        if entries := entries_after(kind, *_place(options)):
            return Changes(_changes(_undone(entries, options, out)))
        version, expected = options["version"], options["expect_version"]
        same = restore_row(kind, options["key"], to=version, expect_version=expected)
        return Changes([(kind, same)])

    return undo_newest, restore


undo_flag, restore_flag = undo_verbs(Kind.FLAG, "new_checkout")


@verb(
    "undo-transaction 19",
    "undo-transaction 19 --dry-run",
    topic=Topic.INCIDENT,
    arguments=(_add_version, *_CHANGE),
)
def undo_transaction(options: Options, out: Output) -> Changes:
    """Undo all changes of one transaction, such as an import.

    Deleted rows are restored with every field and the allowed users; created ones are deleted. If a
    field has been changed again since then, nothing is written, and the message lists it.
    """
    done = _undone(entries_of_transaction(options["version"]), options, out)
    return Changes(_changes(done), undone={})


@verb(
    "undo-since 30m --by alice --dry-run",
    "undo-since 14:50 new_checkout --skip-conflicts --yes",
    topic=Topic.INCIDENT,
    arguments=(
        add_period("changes", since="since"),
        partial(add_key, optional=True),
        add_kinds("only changes of %ss"),
        switch("--skip-conflicts", "leave out changes that newer changes have overwritten"),
        *_CHANGE,
    ),
)
def undo_since(options: Options, out: Output) -> Changes:
    """Undo all changes since a time, in one transaction.

    It always asks. If a newer change that is not selected has overwritten one of them, nothing is
    written, unless you pass `--skip-conflicts`. At most 1,000 changes are undone at once.
    """
    entries = _selected(options, out)
    done = _undone(entries, options, out, asks_always=True) if entries else []
    out.messages(_conflicts(done))
    conflicts = [
        {"key": one.key, "versions": conflict.entries, "problem": str(conflict.error)}
        for one in done
        for conflict in one.conflicts
    ]
    return Changes(_changes(done), undone={"conflicts": conflicts})


def _selected(options: Options, out: Output) -> Sequence[Change]:
    """Returns the entries since a time. Prints a message if there are none."""
    key, kinds = options["key"], chosen_kinds(options)
    found = matching_entries(options, kinds)
    if key is not None:
        found = found.of_keys(kinds, [key])
    entries = [*found.short().newest()[: _MAX_ENTRIES + 1]]
    if len(entries) > _MAX_ENTRIES:
        raise CommandError(
            f"more than {_MAX_ENTRIES:,} changes match; pass --until, --by or KEY", returncode=USAGE
        )
    if not entries:
        if key is not None:
            require_key(key, tuple(Kind))
        out.message("no matching changes")
        print_similar_actor(options["by"], out)
    return entries


def _undone(
    entries: Sequence[Change], options: Options, out: Output, *, asks_always: bool = False
) -> list[Undone]:
    """Undoes entries, after a question if users notice it, or always.

    Raises CommandError if the answer is no, ConflictError if a row has been changed since the
    question, and as `undo` does.
    """
    skip, expect = options.get("skip_conflicts", False), dict[RowId, int]()
    asks_always = asks_always and not (options["yes"] or out.is_dry_run)
    try:
        if asks_always or may_ask(options, out):
            shown = preview_undo(entries, skip_conflicts=skip)
            written = [one for one in shown if one.written]
            found = impact([one.before for one in written], [one.after for one in written])
            if asks_always or consequence_of(found) >= Consequence.FEWER:
                expect = {one.id: one.version for one in shown}
                print_changes(_changes(shown), out)
                out.messages(_conflicts(shown))
                number = sum(len(one.entries) for one in shown)
                text = f"Undo {counted(number, 'change')} of {counted(len(shown), 'key')}?"
                ask(found, options, out, text if asks_always else GO_ON)
        if (version := options.get("expect_version")) is not None:
            expect = {(entries[0].kind, entries[0].object_pk): version}
        return undo(entries, skip_conflicts=skip, expect=expect)
    except (ConflictError, InvalidChangeError):
        if "skip_conflicts" in options:
            out.message("pass --skip-conflicts to undo the other changes")
        raise


def _changes(done: Sequence[Undone]) -> list[tuple[Kind, Changed]]:
    return [(one.kind, one.changed) for one in done if one.changed is not None]


def _conflicts(done: Sequence[Undone]) -> Iterator[str]:
    return (f"conflict: {conflict.error}" for one in done for conflict in one.conflicts)


# What the options of `history` and `undo-since` select.


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
