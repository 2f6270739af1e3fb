"""Earlier states: undo, restore."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.text import counted, some
from flagstaff.changes import UndoneEvents
from flagstaff.changes.consequence import Consequence, consequence_of
from flagstaff.changes.impact import impact_of_changes
from flagstaff.changes.locking import raise_errors
from flagstaff.changes.restore_version import RESTORE_BY_KIND
from flagstaff.changes.undoing import (
    NOTHING_REFUSED,
    as_shown,
    expecting_version,
    preview_undo,
    undo_selected,
)
from flagstaff.changes.undoing.plan import UndoPlan
from flagstaff.changes.undoing.selection import (
    RowEvents,
    select_of_key,
    select_transaction,
    select_versions,
)
from flagstaff.cli.support.change_arguments import (
    add_change_arguments,
    add_yes,
    may_ask,
)
from flagstaff.cli.support.consequence import (
    GO_ON,
    ask,
    row_of,
    write_confirmed,
)
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.event_filters import add_actor_filter, print_similar_actor, require_key
from flagstaff.cli.support.kind_arguments import add_kinds, chosen_kind, kind_of_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import (
    print_changes,
    report_change,
    report_changes,
    report_flag_change,
    report_segment_change,
)
from flagstaff.cli.support.time_argument import add_period
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import recent_events
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of

_MAX_KEYS_SHOWN = 5
# Events that one undo takes.
_MAX_EVENTS = 1_000
# The help of --value and --segment.
_KIND_OF_KEY = "KEY is the key of a %s"

_REPORTS = {
    Kind.FLAG: report_flag_change,
    Kind.VALUE: report_change,
    Kind.SEGMENT: report_segment_change,
}
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
    is_since = options["since"] is not None
    selected = _selected(options, out)
    done = _undone(selected, options, out) if selected else []
    changed = [undone.changed for undone in done if undone.changed is not None]
    if options["transaction"] is not None:
        report_changes(changed, out, options)
    elif is_since:
        _print_conflicts(done, out)
        conflicts = [
            {"key": undone.key, "versions": undone.versions, "problem": undone.problem}
            for undone in done
            if undone.error is not None
        ]
        report_changes(changed, out, options, more={"conflicts": conflicts})
    else:
        _print_other_keys(selected[0], out)
        _REPORTS[kind_of_key(options)](changed[0], out, options)


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


def _selected(options: Options, out: Output) -> list[RowEvents]:
    """Returns the events to undo. Prints a message if there are none."""
    if options["transaction"] is not None:
        return select_transaction(options["transaction"])
    if options["since"] is None:
        return select_of_key(kind_of_key(options), options["key"], options["change"])
    key, kind = options["key"], chosen_kind(options)
    events = recent_events(
        key=key,
        kinds=None if kind is None else (kind,),
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
    return select_versions(event.version for event in events)


def _undone(selected: Sequence[RowEvents], options: Options, out: Output) -> list[UndoneEvents]:
    """Undoes events, after a question if users gain a flag, or if they are those since a time.

    Raises CommandError if the answer is no, ConflictError if a row has been changed since the
    question, and as `undo_selected` does.
    """
    whole, skip = options["transaction"] is not None, options["skip_conflicts"]
    check, refused = expecting_version(options["expect_version"]), NOTHING_REFUSED
    asks_always = options["since"] is not None and not (options["yes"] or out.is_dry_run)
    try:
        if asks_always or may_ask(options, out):
            plan = preview_undo(selected, whole=whole)
            check(plan)
            if not skip:
                raise_errors(plan.errors)
            if plan.refusal is not None:
                raise plan.refusal
            if _is_confirmed(plan, options, out, asks_always=asks_always):
                check, refused = as_shown(plan.versions, plan.undone), plan.refused
        return undo_selected(
            selected, whole=whole, skip_conflicts=skip, check=check, refused=refused
        )
    except (ConflictError, InvalidChangeError):
        if options["since"] is not None:
            out.message("pass --skip-conflicts to undo the other changes")
        raise


def _is_confirmed(plan: UndoPlan, options: Options, out: Output, *, asks_always: bool) -> bool:
    """Shows an undo and asks. Returns False if there is nothing to ask.

    Raises CommandError if the answer is no.
    """
    found = impact_of_changes(plan.effects)
    if consequence_of(found) is Consequence.NONE and not asks_always:
        return False
    print_changes([row.changed for row in plan.rows if row.changed is not None], out)
    _print_conflicts(plan.events, out)
    text = GO_ON
    if asks_always:
        count = sum(len(undone.events) for undone in plan.events)
        text = f"Undo {counted(count, 'change')} of {counted(len(plan.rows), 'key')}?"
    ask(found, options, out, text)
    return True


def _print_conflicts(events: Sequence[UndoneEvents], out: Output) -> None:
    for undone in events:
        if undone.error is not None:
            out.message(f"conflict: {undone.error}")


def _print_other_keys(selected: RowEvents, out: Output) -> None:
    """Prints the other keys that the same transaction has changed."""
    version = selected.events[0].last
    # Compared by primary key, because the key may have changed since.
    parts = parts_of(version)
    other_keys = [part.key for part in parts if (part.kind, part.pk) != selected.row]
    if other_keys:
        out.message(
            f"the same transaction also changed {some(other_keys, _MAX_KEYS_SHOWN)}; "
            "to undo the whole transaction, run: python manage.py flags undo --transaction "
            f"{version}"
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
