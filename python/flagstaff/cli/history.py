from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from flagstaff.cli.cells import Column
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.pruning import add_prune, run_prune
from flagstaff.history import Event, as_csv, as_dicts, flag_history, prune, value_history
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.users import names_of_actors, names_of_users

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "tell who changed what, when and why"
EXAMPLES = (
    "history new_checkout",
    "history --limit 5 --json",
    "history payment_gateway --value --csv",
    "history --prune --older-than 365",
)

_COLUMNS = (
    Column("version", right=True),
    Column("at", header="WHEN"),
    Column("key"),
    Column("what", cut=True),
    Column("who", cut=True),
    Column("source"),
    Column("reason", cut=True),
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser what to tell, and how much of it."""
    parser.add_argument("key", metavar="KEY", nargs="?", help="the key of the flag; else all flags")
    parser.add_argument("--value", action="store_true", help="of values, not of flags")
    parser.add_argument("--limit", type=_count, default=20, metavar="N", help="by default 20")
    parser.add_argument("--before", type=int, metavar="VERSION", help="only what is older")
    parser.add_argument("--users", action="store_true", help="name the users of an allow-list")
    parser.add_argument("--csv", action="store_true", help="a table with a header, for programs")
    add_prune(parser)


def run(options: Options, out: Output) -> None:
    """Print the events, newest first."""
    if options["prune"]:
        run_prune(options, out, prune, "history")
        return
    events = _events(options)
    if options["csv"]:
        out.line(as_csv(events).rstrip("\r\n"))
        return
    if not events:
        out.say("nothing is written down")
    if out.is_json:
        out.document(as_dicts(events))
        return
    out.records(_COLUMNS, list(_records(events, users=options["users"])))


def _events(options: Options) -> list[Event]:
    how: dict[str, Any] = {"limit": options["limit"], "before": options["before"]}
    if options["value"]:
        return value_history(options["key"], **how)
    # What a program gets is whole.
    all_users = options["csv"] or options.get("json", False)
    return flag_history(options["key"], all_users=all_users, **how)


def _records(events: list[Event], *, users: bool) -> Iterable[dict[str, Any]]:
    actors = names_of_actors(events)
    names = names_of_users(events) if users else None
    for event in events:
        yield {
            "version": event.version,
            "at": event.at,
            "key": event.key,
            "what": describe_change(event, names),
            "who": describe_actor(event, actors),
            "source": event.source,
            "reason": event.reason,
        }


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"expected a whole number from 1, not {text!r}")
    return int(text)
