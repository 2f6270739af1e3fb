from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from django.core.management.base import CommandParser

from flagstaff._engine.impact import Impact, impact
from flagstaff.cli.cells import Column, Record
from flagstaff.cli.numbers import percent
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "count for how many of all users another rollout changes the answer"
EXAMPLES = (
    "impact new_checkout 50",
    "impact new_checkout 0% --sample 100 --json",
)

_MOST = 1000


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key, the percent, and how much to tell."""
    add_key(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=percent, help="a whole number from 0 to 100"
    )
    parser.add_argument(
        "--sample",
        type=_count,
        default=10,
        metavar="N",
        help="how many of those whose answer changes to name, by default 10",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long to count at most, by default 60",
    )


def run(options: Options, out: Output) -> None:
    """Count, and tell of it. Nothing is changed."""
    counted = impact(
        options["key"],
        options["percent"],
        sample=options["sample"],
        timeout=options["timeout"],
    )
    record = counted.as_dict()
    out.lead("impact", _sentence(counted))
    out.record([Column(name, shown=_shown(name)) for name in record], record)
    if not counted.enabled:
        out.say(f"{counted.key} is off, so that no rollout changes an answer")


def _sentence(counted: Impact) -> str:
    users = f"{counted.users:,} user{'' if counted.users == 1 else 's'}"
    if counted.direction == "same":
        return f"Nothing changes for any of {users}."
    moved = counted.gain or counted.lose
    return f"{moved:,} of {users} would {counted.direction} it."


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
        raise ArgumentTypeError(f"expected a whole number from 0 to {_MOST}, not {text!r}")
    return int(text)


def _shown(name: str) -> Callable[[Record], str] | None:
    if name in ("rollout_percent", "percent"):
        return lambda record: f"{record[name]} %"
    if name in ("users", "have", "gain", "lose", "same", "would_have"):
        return lambda record: f"{record[name]:,}"
    return (lambda record: ", ".join(map(str, record[name]))) if name == "sample" else None
