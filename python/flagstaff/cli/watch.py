from __future__ import annotations

import time

from django.core.management.base import CommandParser
from django.utils import timezone

from flagstaff.cli.cells import plain
from flagstaff.cli.numbers import seconds
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.history import Event, as_dicts
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.following import Following
from flagstaff.history.users import names_of_actors

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "tell each change as it is committed, a line each, until Ctrl-C"
EXAMPLES = (
    "watch",
    "watch --seconds 60 --json",
)

_LONGEST = 31_536_000.0


def add_arguments(parser: CommandParser) -> None:
    """Give the parser how often to look, and for how long."""
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="between two looks, by default 1",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=_LONGEST, metavar="N", help="end after so many"
    )


def run(options: Options, out: Output) -> None:
    """Look again and again. Each line is written at once, for whoever reads it in a pipe."""
    until = time.monotonic() + options["seconds"]
    following = Following()
    out.say("watching; Ctrl-C ends it")
    while True:
        for event in following.look():
            _tell(event, out)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(options["interval"], left))


def _tell(event: Event, out: Output) -> None:
    if out.is_json:
        out.document(as_dicts([event])[0], indent=None)
        return
    at = timezone.localtime(event.at) if timezone.is_aware(event.at) else event.at
    cells = (
        f"{at:%H:%M:%S}" if out.is_terminal else event.at.isoformat(),
        event.key,
        describe_change(event),
        describe_actor(event, names_of_actors([event])),
        event.source or "",
        event.reason or "",
    )
    told = [plain(cell) for cell in cells]
    out.line("  ".join(filter(None, told)) if out.is_terminal else "\t".join(told))


def _seconds(text: str) -> float:
    return seconds(text, _LONGEST)
