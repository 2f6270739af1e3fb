"""Earlier states: undo, restore."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._text.lists import join_some
from flagstaff.changes.old_workers import ignoring_old_workers
from flagstaff.changes.restore_version import RESTORE_BY_KIND
from flagstaff.changes.undo_event import UNDO_BY_KIND
from flagstaff.changes.undo_events import UndoneEvents
from flagstaff.cli.support.change_arguments import (
    add_change_arguments,
    add_force,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.event_filters import add_actor_filter, print_similar_actor, require_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import (
    print_changes,
    report_change,
    report_changes,
    report_flag_change,
)
from flagstaff.cli.support.time_argument import add_since
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.exceptions import ConflictError
from flagstaff.history import recent_events
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of
from flagstaff.history.versions import all_entries, entries_of_key, has_history
from flagstaff.models import Change

__all__ = ["RESTORE", "UNDO"]

_MAX_KEYS_SHOWN = 5
# Events that one undo with --since takes.
_MAX_EVENTS = 1_000

_REPORTS = {
    Kind.FLAG: report_flag_change,
    Kind.VALUE: report_change,
    Kind.SEGMENT: report_change,
}


def _add_undo(parser: CommandParser) -> None:
    add_change_arguments(parser, optional_key=True)
    add_force(parser)
    parser.add_argument(
        "change", metavar="VERSION", type=int, nargs="?", help="a version that `history` shows"
    )
    _add_kinds(parser)
    parser.add_argument(
        "--transaction",
        type=int,
        metavar="VERSION",
        help="undo everything that the transaction of VERSION changed, for example one import",
    )
    add_since(parser, "changes")
    add_actor_filter(parser)
    parser.add_argument(
        "--skip-conflicts",
        action="store_true",
        help="with --since: leave out changes that newer changes have overwritten",
    )
    add_yes(parser)


def _undo(options: Options, out: Output) -> None:
    if options["transaction"] is not None:
        _undo_transaction(options, out)
        return
    if any(options[name] is not None for name in ("since", "until", "by")):
        _undo_since(options, out)
        return
    key, change, version = options["key"], options["change"], options["expect_version"]
    if key is None:
        raise CommandError("pass KEY, --since TIME or --transaction VERSION", returncode=USAGE)
    kind = _kind(options)
    # Read before the undo, which becomes the newest entry itself.
    entry = _entry(kind, key, change)
    with ignoring_old_workers(options["force"]):
        changed = UNDO_BY_KIND[kind](key, change, expect_version=version)
    _print_other_keys(entry, out)
    _REPORTS[kind](changed, out, options)


def _undo_transaction(options: Options, out: Output) -> None:
    others = ("key", "expect_version", "since", "until", "by")
    if any(options[name] is not None for name in others):
        raise CommandError(
            "--transaction cannot be combined with KEY, --expect-version, --since, --until or --by",
            returncode=USAGE,
        )
    changed = changes.undo_transaction(options["transaction"], force=options["force"])
    report_changes(changed, out, options)


def _undo_since(options: Options, out: Output) -> None:
    """Undoes all changes since a time, or those of an actor, after a confirmation."""
    if options["since"] is None:
        raise CommandError("--until and --by need --since TIME", returncode=USAGE)
    if options["change"] is not None or options["expect_version"] is not None:
        raise CommandError(
            "--since cannot be combined with VERSION or --expect-version", returncode=USAGE
        )
    versions = _versions_since(options, out)
    settings = {"skip_conflicts": options["skip_conflicts"], "force": options["force"]}
    if versions and not (options["yes"] or out.is_dry_run):
        planned = changes.preview_undo_events(versions)
        print_changes([one.changed for one in planned if one.changed], out)
        _print_conflicts(planned, out)
        keys = len({(one.kind, one.pk) for one in planned})
        question = f"Undo {_count(len(versions), 'change')} of {_count(keys, 'key')}?"
        require_confirmation(question, options, out)
    try:
        done = changes.undo_events(versions, **settings) if versions else []
    except ConflictError:
        out.message("pass --skip-conflicts to undo the other changes")
        raise
    _print_conflicts(done, out)
    conflicts = [
        {"key": one.key, "versions": one.versions, "problem": one.problem}
        for one in done
        if one.problem
    ]
    changed = [one.changed for one in done if one.changed]
    report_changes(changed, out, options, more={"conflicts": conflicts})


def _versions_since(options: Options, out: Output) -> list[int]:
    key = options["key"]
    events = recent_events(
        key=key,
        kinds=None if _is_of_all_kinds(options) else (_kind(options),),
        since=options["since"],
        until=options["until"],
        actor=options["by"],
        limit=_MAX_EVENTS + 1,
    )
    if len(events) > _MAX_EVENTS:
        raise CommandError(
            f"more than {_MAX_EVENTS:,} changes match; pass --until, --by or KEY", returncode=USAGE
        )
    if not events:
        if key is not None:
            require_key(key, tuple(Kind))
        out.message("no matching changes")
        print_similar_actor(options["by"], out)
    return [event.version for event in events]


def _is_of_all_kinds(options: Options) -> bool:
    return not (options["value"] or options["segment"])


def _print_conflicts(done: Sequence[UndoneEvents], out: Output) -> None:
    for one in done:
        if one.problem:
            out.message(f"conflict: {one.problem}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
    _add_kinds(parser)


def _restore(options: Options, out: Output) -> None:
    kind, version = _kind(options), options["expect_version"]
    with ignoring_old_workers(options["force"]):
        changed = RESTORE_BY_KIND[kind](
            options["key"], to=options["change"], expect_version=version
        )
    _REPORTS[kind](changed, out, options)


def _add_kinds(parser: CommandParser) -> None:
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--value", action="store_true", help="KEY is the key of a value")
    kinds.add_argument("--segment", action="store_true", help="KEY is the key of a segment")


def _kind(options: Options) -> Kind:
    if options["segment"]:
        return Kind.SEGMENT
    return Kind.VALUE if options["value"] else Kind.FLAG


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
