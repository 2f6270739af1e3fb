"""Earlier states: undo, restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.text import counted, some
from flagstaff.changes.changed import Changed
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
from flagstaff.cli.support.change_arguments import add_change_arguments, add_yes, may_ask
from flagstaff.cli.support.consequence import GO_ON, ask
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.event_filters import (
    add_actor_filter,
    matching_entries,
    print_similar_actor,
    require_key,
)
from flagstaff.cli.support.kind_arguments import add_kinds, chosen_kind, kind_of_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import print_changes, report, report_changes
from flagstaff.cli.support.time_argument import add_period
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change

_MAX_KEYS_SHOWN = 5
# Entries that one undo takes.
_MAX_ENTRIES = 1_000
# The help of --value and --segment.
_KIND_OF_KEY = "KEY is the key of a %s"

# The options that select changes since a time.
_SINCE = ("since", "until", "by")


def _add_undo(parser: CommandParser) -> None:
    add_change_arguments(parser, optional_key=True)
    parser.add_argument(
        "change", metavar="VERSION", type=int, nargs="?", help="a version that `history` shows"
    )
    add_kinds(parser, _KIND_OF_KEY)
    parser.add_argument(
        "--transaction",
        type=int,
        metavar="VERSION",
        help="undo everything that the transaction of VERSION changed, for example one import",
    )
    add_period(parser, "changes")
    add_actor_filter(parser)
    parser.add_argument(
        "--skip-conflicts",
        action="store_true",
        help="with --since: leave out changes that newer changes have overwritten",
    )
    add_yes(parser)


def _undo(options: Options, out: Output) -> None:
    _require_fitting(options)
    entries = _selected(options, out)
    done = _undone(entries, options, out) if entries else []
    if options["transaction"] is not None:
        report_changes(_changes(done), out, options)
    elif options["since"] is not None:
        _print_conflicts(done, out)
        conflicts = [
            {"key": one.key, "versions": conflict.entries, "problem": str(conflict.error)}
            for one in done
            for conflict in one.conflicts
        ]
        report_changes(_changes(done), out, options, more={"conflicts": conflicts})
    else:
        _print_other_keys(entries[0], out)
        report(kind_of_key(options), _changes(done)[:1], out, options)


def _require_fitting(options: Options) -> None:
    """Raises CommandError if the arguments do not select one set of changes."""
    has_period = any(options[name] is not None for name in _SINCE)
    is_one = options["change"] is not None or options["expect_version"] is not None
    problem = ""
    if options["transaction"] is not None:
        if has_period or options["key"] is not None or options["expect_version"] is not None:
            problem = (
                "--transaction cannot be combined with KEY, --expect-version, --since, --until or "
                "--by"
            )
    elif has_period and options["since"] is None:
        problem = "--until and --by need --since TIME"
    elif has_period and is_one:
        problem = "--since cannot be combined with VERSION or --expect-version"
    elif not has_period and options["key"] is None:
        problem = "pass KEY, --since TIME or --transaction VERSION"
    if problem:
        raise CommandError(problem, returncode=USAGE)


def _selected(options: Options, out: Output) -> Sequence[Change]:
    """Returns the entries to undo. Prints a message if there are none."""
    if options["transaction"] is not None:
        return entries_of_transaction(options["transaction"])
    if options["since"] is None:
        return event_of(kind_of_key(options), options["key"], options["change"])
    key, kind = options["key"], chosen_kind(options)
    kinds = tuple(Kind) if kind is None else (kind,)
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


def _undone(entries: Sequence[Change], options: Options, out: Output) -> list[Undone]:
    """Undoes entries, after a question if users notice it, or if they are those since a time.

    Raises CommandError if the answer is no, ConflictError if a row has been changed since the
    question, and as `undo` does.
    """
    skip, expect = options.get("skip_conflicts", False), dict[RowId, int]()
    if options["expect_version"] is not None:
        expect = {(entries[0].kind, entries[0].object_pk): options["expect_version"]}
    is_since = options.get("since") is not None
    asks_always = is_since and not (options["yes"] or out.is_dry_run)
    try:
        if asks_always or may_ask(options, out):
            shown = preview_undo(entries, skip_conflicts=skip, expect=expect)
            _ask(shown, options, out, asks_always=asks_always)
            expect = {one.id: one.version for one in shown}
        return undo(entries, skip_conflicts=skip, expect=expect)
    except (ConflictError, InvalidChangeError):
        if is_since:
            out.message("pass --skip-conflicts to undo the other changes")
        raise


def _ask(shown: Sequence[Undone], options: Options, out: Output, *, asks_always: bool) -> None:
    """Shows an undo, and asks if users notice it. Raises CommandError if the answer is no."""
    written = [one for one in shown if one.written]
    found = impact([one.before for one in written], [one.after for one in written])
    if not asks_always and consequence_of(found) < Consequence.FEWER:
        return
    print_changes(_changes(shown), out)
    _print_conflicts(shown, out)
    text = GO_ON
    if asks_always:
        count = sum(len(one.entries) for one in shown)
        text = f"Undo {counted(count, 'change')} of {counted(len(shown), 'key')}?"
    ask(found, options, out, text)


def _changes(done: Sequence[Undone]) -> list[Changed]:
    return [one.changed for one in done if one.changed is not None]


def _print_conflicts(done: Sequence[Undone], out: Output) -> None:
    for one in done:
        for conflict in one.conflicts:
            out.message(f"conflict: {conflict.error}")


def _print_other_keys(entry: Change, out: Output) -> None:
    """Prints the other keys that the same transaction has changed."""
    found = Change.objects.in_transaction(entry).order_by("id")
    # Compared by primary key, because the key may have changed since.
    keys: Mapping[RowId, str] = {(one.kind, one.object_pk): one.key for one in found}
    others = [key for row, key in keys.items() if row != (entry.kind, entry.object_pk)]
    if others:
        out.message(
            f"the same transaction also changed {some(sorted(others), _MAX_KEYS_SHOWN)}; "
            "to undo the whole transaction, run: python manage.py flags undo --transaction "
            f"{entry.pk}"
        )


def _add_restore(parser: CommandParser) -> None:
    add_change_arguments(parser)
    parser.add_argument(
        "change", metavar="VERSION", type=int, help="a version that `history` shows"
    )
    add_kinds(parser, _KIND_OF_KEY)
    add_yes(parser)


def _restore(options: Options, out: Output) -> None:
    kind, key, version = kind_of_key(options), options["key"], options["expect_version"]
    if entries := entries_after(kind, key, options["change"]):
        [changed] = _changes(_undone(entries, options, out))
    else:
        changed = restore_row(kind, key, to=options["change"], expect_version=version)
    report(kind, [changed], out, options)


UNDO = Verb(
    name="undo",
    help="undo one change, by default the newest, or all changes since a time",
    examples=(
        "undo new_checkout",
        "undo new_checkout 17",
        "undo payment_gateway 18 --value",
        "undo --transaction 19",
        "undo --since 30m --by ana --dry-run",
        "undo --since 14:50 --by ana --skip-conflicts",
    ),
    add_arguments=_add_undo,
    run=_undo,
    topic=Topic.INCIDENT,
)
RESTORE = Verb(
    name="restore",
    help="restore a flag and its allowed users to the state after a change",
    examples=("restore new_checkout 17", "restore payment_gateway 18 --value"),
    add_arguments=_add_restore,
    run=_restore,
    topic=Topic.INCIDENT,
)
