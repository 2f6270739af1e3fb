from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error, close_old_connections

from flagstaff.cli.cells import Column, Record
from flagstaff.cli.errors import FAILED
from flagstaff.cli.numbers import seconds
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.stopping import until_told_to_end
from flagstaff.webhooks import DeliveryReport, deliver, discard_failed, retry_failed

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "tell the receivers of WEBHOOKS what was changed"
EXAMPLES = (
    "tick",
    "tick --loop 5",
    "tick --retry-dead --json",
)

_LONGEST = 86_400.0


def _role(record: Record) -> str | None:
    return "WARNING" if record["failed_attempts"] or record["failed"] else None


_COLUMNS = (
    Column("receiver"),
    Column("host", cut=True),
    Column("delivered", right=True),
    Column("failed_attempts", right=True, role=_role),
    Column("pending", right=True),
    Column("failed", right=True, role=_role),
    Column("error", cut=True),
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser how often, and what becomes of messages that were given up."""
    parser.add_argument(
        "--loop", type=_seconds, metavar="SECONDS", help="go on, with so many seconds in between"
    )
    dead = parser.add_mutually_exclusive_group()
    dead.add_argument("--retry-dead", action="store_true", help="send again what was given up")
    dead.add_argument("--forget-dead", action="store_true", help="never send what was given up")


def run(options: Options, out: Output) -> None:
    """Tell them once, or until it is told to end."""
    if options["retry_failed"]:
        out.say(f"{_messages(retry_failed())} to be sent again")
    if options["discard_failed"]:
        out.say(f"{_messages(discard_failed())} forgotten")
    if options["loop"] is not None:
        _go_on(options["loop"], out)
        return
    told = deliver()
    _tell(told, out)
    dead = sum(one.failed for one in told)
    if dead:
        raise CommandError(
            f"{_messages(dead)} given up; --retry-dead sends again, --forget-dead does not",
            returncode=FAILED,
        )


def _go_on(pause: float, out: Output) -> None:
    """Tick again and again. Whatever the database does, the next one may do better."""
    with until_told_to_end() as stop:
        out.say("telling the receivers; Ctrl-C ends it")
        while not stop.is_set():
            close_old_connections()
            try:
                told = deliver(stop=stop)
            except Error as error:
                # Not its text, which may quote data.
                out.say(f"the database does not do it: {type(error).__name__}")
            else:
                moved = [one for one in told if one.delivered or one.failed_attempts or one.expired]
                _tell_lines(moved, out)
            close_old_connections()
            stop.wait(pause)


def _tell(told: Sequence[DeliveryReport], out: Output) -> None:
    if not told:
        out.say("nobody is told of changes; FLAGSTAFF has no WEBHOOKS")
    out.records(_COLUMNS, [one.as_dict() for one in told])
    for one in told:
        if one.expired:
            out.say(
                f"{one.receiver}: {_messages(one.expired)} not told, for the history was pruned"
            )
        if not one.host:
            out.say(f"{one.receiver} is not in WEBHOOKS any more, and is told nothing")


def _tell_lines(told: Sequence[DeliveryReport], out: Output) -> None:
    """A line each, as it comes."""
    for one in told:
        if out.is_json:
            out.document(one.as_dict(), indent=None)
        else:
            out.line(_line(one.as_dict()))


def _line(record: dict[str, Any]) -> str:
    counts = [
        f"{name} {record[name]}" for name in ("delivered", "failed_attempts", "pending", "failed")
    ]
    error = [record["error"]] if record["failed_attempts"] else []
    return "\t".join([record["receiver"], *counts, *error])


def _messages(count: int) -> str:
    return "1 message is" if count == 1 else f"{count:,} messages are"


def _seconds(text: str) -> float:
    return seconds(text, _LONGEST, or_none=False)
