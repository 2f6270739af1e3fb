"""The history and what it makes possible: history, undo since a time, forget-user."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import cast

from django.core.management.base import CommandError
from django.db import Error, transaction

from flagstaff._tables.rows import unknown_key
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import MAX_VALUE, counted
from flagstaff._text.times import Column
from flagstaff.actions import Done
from flagstaff.actions.commit import look_at_undo
from flagstaff.actions.table import Look
from flagstaff.changes import Changed
from flagstaff.changes.undo import Undone, entries_of_transaction, preview_undo
from flagstaff.cli.action_verbs import require_confirmation, write
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import (
    add_attribution,
    add_dry_run,
    add_key,
    add_kinds,
    add_period,
    add_wait,
    add_yes,
    chosen_kinds,
    count,
)
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import report
from flagstaff.cli.verb import Options, Topic, option, switch, verb
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import Event, Kind, as_csv, as_dicts, events, unreadable_kinds
from flagstaff.history import forget_user as forget
from flagstaff.history.describe import describe_actor, describe_change, names_of_actors
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    entries_of_key,
    has_history,
    require_history,
)

# Entries that one undo takes.
_MAX_ENTRIES = 1_000
_WITHOUT = "a column whose old value no longer fits; can be repeated"
_UNDO = (
    option("--without", _WITHOUT, "FIELD", action="append", default=[]),
    add_attribution,
    add_wait,
    add_yes,
)
_COLUMNS = (
    Column("version", align_right=True),
    Column("at", header="WHEN"),
    Column("kind"),
    Column("key"),
    Column("summary", below=True),
    Column("actor", below=True),
    Column("source", below=True),
    Column("reason", below=True),
)


@verb(
    "history new_checkout",
    "history --limit 5 --json",
    "history --since 1h --by alice",
    "history new_checkout payment_gateway --since 10:00",
    "history payment_gateway --value --csv",
    topic=Topic.INCIDENT,
    arguments=(
        option("keys", "the keys; by default all keys", "KEY", nargs="*"),
        add_kinds("only the history of %ss"),
        add_period("events"),
        option("--limit", "the number of events, by default 20", "N", type=count(1), default=20),
        switch("--csv", "print CSV with a header"),
    ),
)
def history(options: Options, out: Output) -> None:
    """Show who changed what, when and why.

    Lists events, the newest first: all changes by one actor to one flag, value or segment in one
    transaction are one event. A TIME without a UTC offset is in Django's time zone; a time of day
    that is in the future is yesterday's. `--by` does not find changes without an actor, whose
    source has the user of the shell. Summaries show at most 300 characters of each value; `--json`
    and `--csv` have whole values, and the primary keys of added and removed users.
    """
    newest = _events(options, out)
    shown = newest[: options["limit"]]
    if options["csv"]:
        out.line(as_csv(shown).rstrip("\r\n"))
        return
    actors = {} if out.is_json else names_of_actors(shown)
    records = [
        {
            "version": event.version,
            "at": event.at,
            "kind": event.kind,
            "key": event.key,
            "summary": describe_change(event, limit=MAX_VALUE),
            "actor": describe_actor(event, actors),
            "source": event.source,
            "reason": event.reason,
        }
        for event in shown
    ]
    document = as_dicts(shown) if out.is_json else None
    out.records(_COLUMNS, records, document=document, empty="no matching entries")
    if out.is_terminal and len(newest) > len(shown):
        out.message("for older events, pass --until TIME or a larger --limit")


def _events(options: Options, out: Output) -> list[Event]:
    """Returns the newest events, one more than the limit if there are more."""
    kinds = chosen_kinds(options)
    hidden = {*kinds}.intersection(unreadable_kinds() if has_history() else ())
    if hidden:
        names = " and ".join(f"{kind.value}s" for kind in kinds if kind in hidden)
        out.message(f"{names} are left out: this database user may not read them")
    kinds = [kind for kind in kinds if kind not in hidden]
    entries = _matching_entries(options, kinds, options["keys"])
    # A program gets whole values and all users, a person the start.
    entries = entries if options["csv"] or out.is_json else entries.short()
    newest = list(islice(events(entries.in_batches()), options["limit"] + 1))
    if not newest:
        _print_similar_actor(options["by"], out)
    return newest


def _matching_entries(
    options: Options, kinds: Collection[Kind], keys: Sequence[str]
) -> ChangeQuerySet:
    """Returns the entries of these kinds and keys, with the actor and in the time of the options.

    Raises FlagstaffError for a key that no row has or had.
    """
    require_history()
    entries = Change.objects.of_kinds(kinds)
    if options["since"] is not None:
        entries = entries.since(options["since"])
    if options["until"] is not None:
        entries = entries.until(options["until"])
    if options["by"] is not None:
        entries = entries.by(options["by"])
    for key in keys:
        if not any(kind.find(key) or entries_of_key(kind, key).exists() for kind in kinds):
            if len(kinds) == 1:
                [kind] = kinds
                kind.row(key)  # Raises, because there is no such row.
            raise unknown_key(key)
    return entries.of_keys(kinds, keys) if keys else entries


def _print_similar_actor(name: str | None, out: Output) -> None:
    """Prints that no user has this name, with a similar name, if there is one."""
    if name is None:
        return
    table = actor_table()
    with suppress(Error), transaction.atomic(using=table.database):
        if not table.find_many([name]):
            out.message(f"no user has the primary key or username {name!r}{table.guess(name)}")


@verb(
    "undo-transaction 19",
    "undo-transaction 19 --dry-run",
    topic=Topic.INCIDENT,
    arguments=(option("version", "a version that `history` shows", "VERSION", type=int), *_UNDO),
)
def undo_transaction(options: Options, out: Output) -> Done:
    """Undo all changes of one transaction, such as an import.

    Deleted rows are restored with every field and the allowed users; created ones are deleted. If a
    field has been changed again since then, nothing is written, and the message lists it.
    """
    return _undo(entries_of_transaction(options["version"]), options, out)


@verb(
    "undo-since 30m --by alice --dry-run",
    "undo-since 14:50 new_checkout --skip-conflicts --yes",
    topic=Topic.INCIDENT,
    arguments=(
        add_period("changes", since="since"),
        partial(add_key, optional=True),
        add_kinds("only changes of %ss"),
        switch("--skip-conflicts", "leave out rows of which a newer change has overwritten one"),
        *_UNDO,
    ),
)
def undo_since(options: Options, out: Output) -> Done:
    """Undo all changes since a time, in one transaction.

    It always asks. If a newer change that is not selected has overwritten one of them, nothing is
    written, unless you pass `--skip-conflicts`. At most 1,000 changes are undone at once.
    """
    keys = [] if options["key"] is None else [options["key"]]
    matching = _matching_entries(options, chosen_kinds(options), keys).without_loads()
    entries = [*matching.short().newest()[: _MAX_ENTRIES + 1]]
    if len(entries) > _MAX_ENTRIES:
        raise CommandError(
            f"more than {_MAX_ENTRIES:,} changes match; pass --until, --by or KEY", returncode=USAGE
        )
    if not entries:
        out.message("no matching changes")
        _print_similar_actor(options["by"], out)
    return _undo(entries, options, out, asks_always=bool(entries))


def _undo(
    entries: Sequence[Change], options: Options, out: Output, *, asks_always: bool = False
) -> Done:
    """Undoes entries, after a question if users notice it, or always.

    Raises CommandError if the answer is no, ConflictError if a row has been changed since the
    question, and as `undo` does.
    """
    chosen = {
        "without": options["without"],
        "skip_conflicts": options.get("skip_conflicts", False),
    }
    rows: list[Undone] = []

    def look() -> Look:
        nonlocal rows
        rows = preview_undo(entries, **chosen)
        undo_look = look_at_undo(entries, rows, **chosen)
        conflicts = [f"conflict: {row.problem}" for row in rows if row.problem]
        if not asks_always or out.is_confirmed:
            return replace(undo_look, notes=conflicts)
        possible = [row for row in rows if not row.problem]
        number = sum(len(row.entries) for row in possible)
        question = f"Undo {counted(number, 'change')} of {counted(len(possible), 'key')}?"
        return replace(undo_look, notes=conflicts, asks_always=True, question=question)

    try:
        changed, shown, has_asked = write(look, out, with_texts=True)
    except (ConflictError, InvalidChangeError):
        if "skip_conflicts" in options:
            out.message("pass --skip-conflicts to undo the other changes")
        raise
    refused = [(row, row.problem) for row in rows if row.problem is not None]
    out.messages(f"conflict: {problem}" for _row, problem in refused)
    documents = [
        {"key": row.key, "versions": row.entries, "problem": str(problem)}
        for row, problem in refused
    ]
    return report(
        cast("Sequence[Changed]", changed),
        out,
        shown.impact,
        undone={"conflicts": documents},
        is_counted=not has_asked,
    )


@verb(
    "forget-user 987654321 --dry-run",
    "forget-user 987654321 --yes",
    topic=Topic.UPKEEP,
    arguments=(option("pk", "the primary key of the deleted user", "PK"), add_yes, add_dry_run),
)
def forget_user(options: Options, out: Output) -> Done:
    """Remove a deleted user from the history.

    As an actor, and from the recorded allowed users; the entries stay. Rollout plans and events of
    experiments lose the actor, too, and experiments lose the exposures of the user.
    """
    pk = options["pk"]
    question = f"Remove user {pk} from the history? This cannot be undone."
    require_confirmation(question, out)
    number = forget(pk)
    removed = f"removed user {pk} from {counted(number, 'history entry', 'history entries')}"
    return Done(pk, [removed], {"pk": pk, "entries": number})
