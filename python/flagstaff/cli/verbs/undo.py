"""Earlier states: undo, restore."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._words.lists import join_some
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.restore_version import RESTORE_BY_KIND
from flagstaff.changes.undo_event import UNDO_BY_KIND
from flagstaff.cli.support.change_arguments import add_change_arguments, add_force, add_yes
from flagstaff.cli.support.consequence import RowKey, row_of, write_confirmed
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.kind_arguments import add_kinds, kind_of_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import (
    report_change,
    report_changes,
    report_flag_change,
    report_segment_change,
)
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.undo_since import SINCE_OPTIONS, add_undo_since, run_undo_since
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of
from flagstaff.history.versions import all_entries, entries_of_key, has_history
from flagstaff.models import Change

_MAX_KEYS_SHOWN = 5
# The help of --value and --segment.
_KIND_OF_KEY = "KEY is the key of a %s"

_REPORTS = {
    Kind.FLAG: report_flag_change,
    Kind.VALUE: report_change,
    Kind.SEGMENT: report_segment_change,
}


def _add_undo(parser: CommandParser) -> None:
    add_change_arguments(parser, optional_key=True)
    add_force(parser)
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
    add_undo_since(parser)
    add_yes(parser)


def _undo(options: Options, out: Output) -> None:
    if options["transaction"] is not None:
        _undo_transaction(options, out)
        return
    if any(options[name] is not None for name in SINCE_OPTIONS):
        run_undo_since(options, out)
        return
    key, change, version = options["key"], options["change"], options["expect_version"]
    if key is None:
        raise CommandError("pass KEY, --since TIME or --transaction VERSION", returncode=USAGE)
    kind = kind_of_key(options)
    # Read before the undo, which becomes the newest entry itself.
    entry = _entry(kind, key, change)
    with ignoring_old_workers(options["force"]):
        [changed] = write_confirmed(
            lambda: [row_of(kind, key)],
            lambda: [UNDO_BY_KIND[kind](key, change, expect_version=version)],
            options,
            out,
            shows=True,
        )
    _print_other_keys(entry, out)
    _REPORTS[kind](changed, out, options)


def _undo_transaction(options: Options, out: Output) -> None:
    if any(options[name] is not None for name in ("key", "expect_version", *SINCE_OPTIONS)):
        raise CommandError(
            "--transaction cannot be combined with KEY, --expect-version, --since, --until or --by",
            returncode=USAGE,
        )
    version = options["transaction"]
    changed = write_confirmed(
        lambda: [RowKey(part.kind, part.key, part.pk) for part in parts_of(version)],
        lambda: changes.undo_transaction(version, force=options["force"]),
        options,
        out,
        shows=True,
    )
    report_changes(changed, out, options)


def _entry(kind: Kind, key: str, change: int | None) -> Change | None:
    """Returns the entry to undo, by default the newest of the key. Queries the history."""
    if not has_history():
        return None
    if change is not None:
        return all_entries().filter(id=change).first()
    return entries_of_key(kind, key).order_by("-id").first()


def _print_other_keys(entry: Change | None, out: Output) -> None:
    """Prints the other keys that the same transaction has changed."""
    if entry is None:
        return
    # Compared by primary key, because the key may have changed since.
    own = Kind.of(entry.relation), entry.object_pk
    others = [part.key for part in parts_of(entry.pk) if (part.kind, part.pk) != own]
    if others:
        out.message(
            f"the same transaction also changed {join_some(others, _MAX_KEYS_SHOWN)}; "
            f"to undo the whole transaction, run: manage.py flags undo --transaction {entry.pk}"
        )


def _add_restore(parser: CommandParser) -> None:
    add_change_arguments(parser)
    add_force(parser)
    parser.add_argument(
        "change", metavar="VERSION", type=int, help="a version that `history` shows"
    )
    add_kinds(parser, _KIND_OF_KEY)
    add_yes(parser)


def _restore(options: Options, out: Output) -> None:
    kind, key, version = kind_of_key(options), options["key"], options["expect_version"]
    with ignoring_old_workers(options["force"]):
        [changed] = write_confirmed(
            lambda: [row_of(kind, key)],
            lambda: [RESTORE_BY_KIND[kind](key, to=options["change"], expect_version=version)],
            options,
            out,
            shows=True,
        )
    _REPORTS[kind](changed, out, options)


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
