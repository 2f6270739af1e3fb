"""`undo --since TIME`: undoes all changes since a time, or those of one actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._words.counted import counted
from flagstaff.changes.undo_events import UndoneEvents
from flagstaff.cli.support.consequence import (
    Question,
    RowKey,
    question_about,
    unchanged,
    versions_seen,
)
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.event_filters import add_actor_filter, print_similar_actor, require_key
from flagstaff.cli.support.kind_arguments import chosen_kind
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import print_changes, report_changes
from flagstaff.cli.support.time_argument import add_period
from flagstaff.cli.support.verb import Options
from flagstaff.exceptions import ConflictError
from flagstaff.history import recent_events
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind

#: The options that select changes, by their names in `Options`.
SINCE_OPTIONS = ("since", "until", "by")

# Events that one undo takes.
_MAX_EVENTS = 1_000


def add_undo_since(parser: CommandParser) -> None:
    """Adds --since, --until, --by and --skip-conflicts."""
    add_period(parser, "changes")
    add_actor_filter(parser)
    parser.add_argument(
        "--skip-conflicts",
        action="store_true",
        help="with --since: leave out changes that newer changes have overwritten",
    )


def run_undo_since(options: Options, out: Output) -> None:
    """Asks for confirmation, undoes the selected changes, and reports them.

    Raises CommandError if the options do not fit or the answer is no, and ConflictError if a newer
    change has overwritten one of them, unless --skip-conflicts is given.
    """
    _require_fitting(options)
    events = _events(options, out)
    versions = [event.version for event in events]
    if versions and not (options["yes"] or out.is_dry_run):
        seen = _confirm(events, options, out)
        with unchanged(seen):
            done = _undo(versions, options, out)
    else:
        done = _undo(versions, options, out) if versions else []
    _print_conflicts(done, out)
    conflicts = [
        {"key": one.key, "versions": one.versions, "problem": one.problem}
        for one in done
        if one.problem
    ]
    changed = [one.changed for one in done if one.changed]
    report_changes(changed, out, options, more={"conflicts": conflicts})


def _require_fitting(options: Options) -> None:
    if options["since"] is None:
        raise CommandError("--until and --by need --since TIME", returncode=USAGE)
    if options["change"] is not None or options["expect_version"] is not None:
        raise CommandError(
            "--since cannot be combined with VERSION or --expect-version", returncode=USAGE
        )


def _events(options: Options, out: Output) -> Sequence[Event]:
    """Returns the selected events. Prints a message if there are none."""
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
    return events


def _confirm(events: Sequence[Event], options: Options, out: Output) -> Mapping[RowKey, int | None]:
    """Shows the undo and asks. Returns the versions of the rows that the question is about."""
    rows = {(Kind(one.kind), one.object_pk): one.key for one in events}
    keys = {row: RowKey(row[0], key, row[1]) for row, key in rows.items()}
    seen = versions_seen(keys.values())
    planned = changes.preview_undo_events(event.version for event in events)
    print_changes([one.changed for one in planned if one.changed], out)
    _print_conflicts(planned, out)
    text = f"Undo {counted(len(events), 'change')} of {counted(len(keys), 'key')}?"
    done = [(keys[one.kind, one.pk], one.changed) for one in planned if one.changed]
    (question_about(done) or Question((), "")).ask(options, out, text)
    return seen


def _undo(versions: Sequence[int], options: Options, out: Output) -> list[UndoneEvents]:
    try:
        return changes.undo_events(
            versions, skip_conflicts=options["skip_conflicts"], force=options["force"]
        )
    except ConflictError:
        out.message("pass --skip-conflicts to undo the other changes")
        raise


def _print_conflicts(done: Sequence[UndoneEvents], out: Output) -> None:
    for one in done:
        if one.problem:
            out.message(f"conflict: {one.problem}")
