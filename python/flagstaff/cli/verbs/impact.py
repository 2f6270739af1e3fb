"""The effect of another rollout: impact."""

from __future__ import annotations

from collections.abc import Callable

from django.core.management.base import CommandParser

from flagstaff._engine.impact import Impact, impact
from flagstaff.cli.support.argument_types import count, percent
from flagstaff.cli.support.cells import Column, Record
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options, Verb

__all__ = ["IMPACT"]

_MAX_SAMPLE = 1000
_PERCENTAGES = {"rollout_percent", "percent"}
_COUNTS = {"users", "have", "gain", "lose", "same", "would_have"}


def _add_arguments(parser: CommandParser) -> None:
    add_key(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=percent, help="a whole number from 0 to 100"
    )
    parser.add_argument(
        "--sample",
        type=count(0, _MAX_SAMPLE),
        default=10,
        metavar="N",
        help="how many of the affected users to list, by default 10",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="the time limit, by default 60",
    )


def _run(options: Options, out: Output) -> None:
    result = impact(
        options["key"],
        options["percent"],
        sample=options["sample"],
        timeout=options["timeout"],
    )
    record = result.as_dict()
    out.headline("impact", _sentence(result))
    out.record([Column(name, _text(name)) for name in record], record)
    if not result.enabled:
        out.message(f"{result.key} is disabled, so changing the rollout has no effect")


def _sentence(result: Impact) -> str:
    if result.direction == "same":
        return "Nothing would change for any user."
    users = f"{result.users:,} user{'' if result.users == 1 else 's'}"
    affected = result.gain or result.lose
    return f"{affected:,} of {users} would {result.direction} the flag."


def _text(name: str) -> Callable[[Record], str] | None:
    if name in _PERCENTAGES:
        return lambda record: f"{record[name]} %"
    if name in _COUNTS:
        return lambda record: f"{record[name]:,}"
    return (lambda record: ", ".join(map(str, record[name]))) if name == "sample" else None


IMPACT = Verb(
    name="impact",
    help="count the users who would gain or lose the flag at another rollout",
    examples=("impact new_checkout 50", "impact new_checkout 0% --sample 100 --json"),
    add_arguments=_add_arguments,
    run=_run,
)
