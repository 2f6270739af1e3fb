"""The history and what it makes possible: history, undo since a time, forget-user."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice

from django.core.management.base import CommandError
from django.db import Error, transaction

from flagstaff._tables.rows import unknown_key
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.cells import Column
from flagstaff._words.text import MAX_VALUE, counted
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence, consequence_of
from flagstaff.changes.impact import impact
from flagstaff.changes.undo import RowId, Undone, entries_of_transaction, preview_undo, undo
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
from flagstaff.cli.question import GO_ON, ask, may_ask, require_confirmation
from flagstaff.cli.report import texts_of
from flagstaff.cli.verb import Changes, Options, Topic, Written, option, switch, verb
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import Event, Kind, as_csv, as_dicts, events, unreadable_kinds
from flagstaff.history import forget_user as forget
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    entries_of_key,
    has_history,
    require_history,
)
from flagstaff.history.user_names import names_of_actors

# Entries that one undo takes.
_MAX_ENTRIES = 1_000
_CHANGE = (add_attribution, add_wait, add_yes)
_COLUMNS = (
    Column("version", align_right=True),
    Column("at", header="WHEN"),
    Column("kind"),
    Column("key"),
    Column("summary", header="CHANGE", below=True),
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
    found = _events(options, out)
    shown = found[: options["limit"]]
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
    if out.is_terminal and len(found) > len(shown):
        out.message("for older events, pass --until TIME or a larger --limit")


def _events(options: Options, out: Output) -> list[Event]:
    """Returns the newest events, one more than the limit if there are more."""
    kinds, keys = chosen_kinds(options), options["keys"]
    hidden = {*kinds}.intersection(unreadable_kinds() if has_history() else ())
    if hidden:
        names = " and ".join(f"{kind.value}s" for kind in kinds if kind in hidden)
        out.message(f"{names} are left out: this database user may not read them")
    kinds = [kind for kind in kinds if kind not in hidden]
    require_history()
    entries = _matching_entries(options, kinds)
    for key in keys:
        if not entries.of_keys(kinds, [key]).exists():
            _require_key(key, kinds)
    if keys:
        entries = entries.of_keys(kinds, keys)
    # A program gets whole values and all users, a person the start.
    entries = entries if options["csv"] or out.is_json else entries.short()
    found = list(islice(events(entries.in_batches()), options["limit"] + 1))
    if not found:
        _print_similar_actor(options["by"], out)
    return found


def _matching_entries(options: Options, kinds: Collection[Kind]) -> ChangeQuerySet:
    """Returns the entries of these kinds with the actor and in the time of the arguments."""
    entries = Change.objects.of_kinds(kinds)
    if options["since"] is not None:
        entries = entries.since(options["since"])
    if options["until"] is not None:
        entries = entries.until(options["until"])
    return entries if options["by"] is None else entries.by(options["by"])


def _require_key(key: str, kinds: Sequence[Kind]) -> None:
    """Raises the error about an unknown key, unless a row has the key or had it."""
    for kind in kinds:
        if kind.find(key) is not None or entries_of_key(kind, key).exists():
            return
    if len(kinds) == 1:
        kinds[0].row(key)  # Raises, because there is no such row.
    raise unknown_key(key)


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
    arguments=(option("version", "a version that `history` shows", "VERSION", type=int), *_CHANGE),
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
        switch("--skip-conflicts", "leave out rows of which a newer change has overwritten one"),
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
        {"key": one.key, "versions": one.entries, "problem": str(one.problem)}
        for one in done
        if one.problem
    ]
    return Changes(_changes(done), undone={"conflicts": conflicts})


def _selected(options: Options, out: Output) -> Sequence[Change]:
    """Returns the entries since a time. Prints a message if there are none."""
    key, kinds = options["key"], chosen_kinds(options)
    found = _matching_entries(options, kinds)
    if key is not None:
        found = found.of_keys(kinds, [key])
    entries = [*found.short().newest()[: _MAX_ENTRIES + 1]]
    if len(entries) > _MAX_ENTRIES:
        raise CommandError(
            f"more than {_MAX_ENTRIES:,} changes match; pass --until, --by or KEY", returncode=USAGE
        )
    if not entries:
        if key is not None:
            _require_key(key, tuple(Kind))
        out.message("no matching changes")
        _print_similar_actor(options["by"], out)
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
                out.messages(texts_of(_changes(shown)))
                out.messages(_conflicts(shown))
                taken = [one for one in shown if not one.problem]
                number = sum(len(one.entries) for one in taken)
                text = f"Undo {counted(number, 'change')} of {counted(len(taken), 'key')}?"
                ask(found, options, out, text if asks_always else GO_ON)
        return undo(entries, skip_conflicts=skip, expect=expect)
    except (ConflictError, InvalidChangeError):
        if "skip_conflicts" in options:
            out.message("pass --skip-conflicts to undo the other changes")
        raise


def _changes(done: Sequence[Undone]) -> list[Changed]:
    return [one.changed for one in done if one.changed is not None]


def _conflicts(done: Sequence[Undone]) -> Iterator[str]:
    return (f"conflict: {one.problem}" for one in done if one.problem)


@verb(
    "forget-user 987654321 --dry-run",
    "forget-user 987654321 --yes",
    topic=Topic.UPKEEP,
    arguments=(option("pk", "the primary key of the deleted user", "PK"), add_yes, add_dry_run),
)
def forget_user(options: Options, out: Output) -> Written:
    """Remove a deleted user from the history.

    As an actor, and from the recorded allowed users; the entries stay. Rollout plans and events of
    experiments lose the actor, too, and experiments lose the exposures of the user.
    """
    pk = options["pk"]
    question = f"Remove user {pk} from the history? This cannot be undone."
    require_confirmation(question, options, out)
    number = forget(pk)
    removed = f"removed user {pk} from {counted(number, 'history entry', 'history entries')}"
    return Written({"pk": pk, "entries": number}, number > 0, [removed])
