"""The history: history."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_VALUE
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.event_filters import add_actor_filter, print_similar_actor, require_key
from flagstaff.cli.support.kind_arguments import add_kinds, chosen_kind
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.time_argument import add_period
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.history import Kind, as_csv, as_dicts, prune, recent_events, unreadable_kinds
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.log import Event, has_history
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
    parser.add_argument(
        "--before", type=int, metavar="VERSION", help="only events before this version"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV with a header")
    add_prune(parser)


def _history(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "history")
        return
    newest_first = _events(options, out)
    events = newest_first[: options["limit"]]
    if options["csv"]:
        out.line(as_csv(events).rstrip("\r\n"))
        return
    if not events:
        out.message("no matching entries")
    if out.is_json:
        out.document(as_dicts(events))
        return
    out.records(_COLUMNS, list(_records(events)))
    if out.is_terminal and len(newest_first) > len(events):
        out.message(f"older events: --before {events[-1].version}, or a larger --limit")


def _events(options: Options, out: Output) -> list[Event]:
    """Returns the newest events, at least one more than the limit if there are more."""
    kinds = _readable_kinds(options, out)
    by_version: dict[tuple[str, int], Event] = {}
    for key in list(dict.fromkeys(options["keys"])) or [None]:
        events = recent_events(
            key=key,
            kinds=kinds,
            since=options["since"],
            until=options["until"],
            actor=options["by"],
            limit=options["limit"] + 1,
            before=options["before"],
            # A program gets all users, a person the first ones.
            all_users=options["csv"] or out.is_json,
        )
        if key is not None and not events and options["before"] is None:
            require_key(key, kinds)
        by_version |= {(event.kind, event.version): event for event in events}
    if not by_version:
        print_similar_actor(options["by"], out)
    return sorted(by_version.values(), key=lambda event: event.version, reverse=True)


def _readable_kinds(options: Options, out: Output) -> list[Kind]:
    """Returns the selected kinds. Prints which of them this database user may not read."""
    chosen = chosen_kind(options)
    kinds = list(Kind) if chosen is None else [chosen]
    unreadable = unreadable_kinds() if has_history() else []
    if hidden := [kind for kind in kinds if kind in unreadable]:
        names = " and ".join(f"{kind.value}s" for kind in hidden)
        out.message(f"{names} are left out: this database user may not read them")
    return [kind for kind in kinds if kind not in hidden]


def _records(events: list[Event]) -> Iterator[Record]:
    actors = names_of_actors(events)
    for event in events:
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
