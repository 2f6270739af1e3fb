"""The history: history, watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from heapq import merge
from itertools import islice

from django.core.management.base import CommandParser
from django.db import ProgrammingError, transaction

from flagstaff._core import monotonic
from flagstaff._tables.rows import unknown_key
from flagstaff._tables.sqlstate import NO_PRIVILEGE, sqlstate
from flagstaff._text.times import aware, clock_time
from flagstaff._text.truncated import MAX_VALUE
from flagstaff.cli.support.argument_types import count, seconds
from flagstaff.cli.support.cells import Column, Record, printable
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownFlagError, UnknownSegmentError, UnknownValueError
from flagstaff.history import (
    Event,
    as_csv,
    as_dicts,
    flag_history,
    prune,
    segment_history,
    value_history,
)
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.following import Following
from flagstaff.history.user_names import names_of_actors, names_of_users

__all__ = ["HISTORY", "WATCH"]

_COLUMNS = (
    Column("version", align_right=True),
    Column("at", header="WHEN"),
    Column("kind"),
    Column("key"),
    Column("summary", header="CHANGE", truncate=True),
    Column("actor", truncate=True),
    Column("source"),
    Column("reason", truncate=True),
)
_MAX_SECONDS = 31_536_000.0


def _add_history(parser: CommandParser) -> None:
    parser.add_argument("key", metavar="KEY", nargs="?", help="the key; by default all keys")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--value", action="store_true", help="only the history of values")
    kinds.add_argument("--segment", action="store_true", help="only the history of segments")
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
    parser.add_argument(
        "--users", action="store_true", help="show the names of added and removed users"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV with a header")
    add_prune(parser)


def _history(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "history")
        return
    events = _events(options, out)
    if options["csv"]:
        out.line(as_csv(events).rstrip("\r\n"))
        return
    if not events:
        out.message("no matching entries")
    if out.is_json:
        out.document(as_dicts(events))
        return
    out.records(_COLUMNS, list(_records(events, users=options["users"])))


def _events(options: Options, out: Output) -> list[Event]:
    key, limit, before = options["key"], options["limit"], options["before"]
    # A program gets all users, a person the first ones.
    all_users = options["csv"] or options.get("json", False)
    if options["value"]:
        return value_history(key, limit=limit, before=before)
    if options["segment"]:
        return segment_history(key, limit=limit, before=before)
    found = list(_of_all(key, limit, before, out, all_users=all_users))
    if not found:
        raise unknown_key(key)
    newest_first = merge(*found, key=lambda event: event.version, reverse=True)
    return list(islice(newest_first, limit))


def _of_all(
    key: str | None, limit: int, before: int | None, out: Output, *, all_users: bool
) -> Iterator[list[Event]]:
    """Yields the events of flags, values and segments; not of those that never had the key."""
    with suppress(UnknownFlagError):
        yield flag_history(key, limit=limit, before=before, all_users=all_users)
    for read, things in ((value_history, "values"), (segment_history, "segments")):
        with suppress(UnknownValueError, UnknownSegmentError):
            events = _of_table(read, things, key, limit, before, out)
            if events is not None:
                yield events


def _of_table(  # noqa: PLR0913, PLR0917 (which table, and the arguments of its history)
    read: Callable[..., list[Event]],
    things: str,
    key: str | None,
    limit: int,
    before: int | None,
    out: Output,
) -> list[Event] | None:
    """Returns None, with a message, if the role may not read the table: values may be secret."""
    try:
        with transaction.atomic(using=conf.database):
            return read(key, limit=limit, before=before)
    except ProgrammingError as error:
        if sqlstate(error) != NO_PRIVILEGE:
            raise
    out.message(f"{things} are left out: this database user may not read them")
    return None


def _records(events: list[Event], *, users: bool) -> Iterator[Record]:
    actors = names_of_actors(events)
    names = names_of_users(events) if users else None
    for event in events:
        yield {
            "version": event.version,
            "at": event.at,
            "kind": event.kind,
            "key": event.key,
            "summary": describe_change(event, names, limit=MAX_VALUE),
            "actor": describe_actor(event, actors),
            "source": event.source,
            "reason": event.reason,
        }


def _add_watch(parser: CommandParser) -> None:
    parser.add_argument(
        "--interval",
        type=seconds(_MAX_SECONDS),
        default=1.0,
        metavar="SECONDS",
        help="the time between two queries, by default 1",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(_MAX_SECONDS),
        default=_MAX_SECONDS,
        metavar="N",
        help="stop after N seconds",
    )


def _watch(options: Options, out: Output) -> None:
    deadline = monotonic() + options["seconds"]
    following = Following()
    out.message("watching for changes; press Ctrl-C to stop")
    while True:
        for event in following.look():
            _print_event(event, out)
        left = deadline - monotonic()
        if left <= 0:
            return
        time.sleep(min(options["interval"], left))


def _print_event(event: Event, out: Output) -> None:
    if out.is_json:
        out.document(as_dicts([event])[0], indent=None)
        return
    cells = (
        clock_time(event.at) if out.is_terminal else aware(event.at).isoformat(),
        event.key,
        describe_change(event, limit=MAX_VALUE),
        describe_actor(event, names_of_actors([event])),
        event.source or "",
        event.reason or "",
    )
    texts = [printable(cell) for cell in cells]
    out.line("  ".join(filter(None, texts)) if out.is_terminal else "\t".join(texts))


HISTORY = Verb(
    name="history",
    help="show who changed what, when and why",
    examples=(
        "history new_checkout",
        "history --limit 5 --json",
        "history payment_gateway --value --csv",
        "history --prune --older-than 365",
    ),
    add_arguments=_add_history,
    run=_history,
    topic=Topic.INCIDENT,
)
WATCH = Verb(
    name="watch",
    help="print each change when it is committed, until Ctrl-C",
    examples=("watch", "watch --seconds 60 --json"),
    add_arguments=_add_watch,
    run=_watch,
    topic=Topic.INCIDENT,
)
