"""The history: history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from django.core.management.base import CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_VALUE
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.event_filters import (
    add_actor_filter,
    matching_entries,
    print_similar_actor,
    require_key,
)
from flagstaff.cli.support.kind_arguments import add_kinds, chosen_kind
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.time_argument import add_period
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.history import Event, Kind, as_csv, as_dicts, events, prune, unreadable_kinds
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.log import has_history, require_history
from flagstaff.history.user_names import names_of_actors

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


def _add_history(parser: CommandParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="*", help="the keys; by default all keys")
    add_kinds(parser, "only the history of %ss")
    add_period(parser, "events")
    add_actor_filter(parser)
    parser.add_argument(
        "--limit",
        type=count(1),
        default=20,
        metavar="N",
        help="the number of events, by default 20",
    )
    parser.add_argument("--before", type=int, metavar="ID", help="only entries with a lower id")
    parser.add_argument("--csv", action="store_true", help="print CSV with a header")
    add_prune(parser)


def _history(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "history")
        return
    newest_first = _events(options, out)
    shown = newest_first[: options["limit"]]
    if options["csv"]:
        out.line(as_csv(shown).rstrip("\r\n"))
        return
    if not shown:
        out.message("no matching entries")
    if out.is_json:
        out.document(as_dicts(shown))
        return
    out.records(_COLUMNS, list(_records(shown)))
    if out.is_terminal and len(newest_first) > len(shown):
        oldest = shown[-1].entries[-1].pk
        out.message(f"older events: --before {oldest}, or a larger --limit")


def _events(options: Options, out: Output) -> list[Event]:
    """Returns the newest events, one more than the limit if there are more."""
    kinds = _readable_kinds(options, out)
    require_history()
    entries = matching_entries(options, kinds)
    for key in options["keys"]:
        if options["before"] is None and not entries.of_keys(kinds, [key]).exists():
            require_key(key, kinds)
    if options["keys"]:
        entries = entries.of_keys(kinds, options["keys"])
    if options["before"] is not None:
        entries = entries.filter(id__lt=options["before"])
    # A program gets whole values and all users, a person the start.
    entries = entries if options["csv"] or out.is_json else entries.short()
    found = list(islice(events(entries.in_batches()), options["limit"] + 1))
    if not found:
        print_similar_actor(options["by"], out)
    return found


def _readable_kinds(options: Options, out: Output) -> list[Kind]:
    """Returns the selected kinds. Prints which of them this database user may not read."""
    chosen = chosen_kind(options)
    kinds = list(Kind) if chosen is None else [chosen]
    unreadable = unreadable_kinds() if has_history() else []
    if hidden := [kind for kind in kinds if kind in unreadable]:
        names = " and ".join(f"{kind.value}s" for kind in hidden)
        out.message(f"{names} are left out: this database user may not read them")
    return [kind for kind in kinds if kind not in hidden]


def _records(shown: list[Event]) -> Iterator[Record]:
    actors = names_of_actors(shown)
    for event in shown:
        yield {
            "version": event.version,
            "at": event.at,
            "kind": event.kind,
            "key": event.key,
            "summary": describe_change(event, limit=MAX_VALUE),
            "actor": describe_actor(event, actors),
            "source": event.source,
            "reason": event.reason,
        }


HISTORY = Verb(
    name="history",
    help="show who changed what, when and why",
    examples=(
        "history new_checkout",
        "history --limit 5 --json",
        "history --since 1h --by ana",
        "history new_checkout payment_gateway --since 10:00",
        "history payment_gateway --value --csv",
        "history --prune --older-than 365",
    ),
    add_arguments=_add_history,
    run=_history,
    topic=Topic.INCIDENT,
)
