from __future__ import annotations

from argparse import ArgumentTypeError

from django.core.management.base import CommandParser

from flagstaff.changes import ramp
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.wait import add_wait, check_wait

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "roll a flag out to a share of all users"
EXAMPLES = (
    "ramp new_checkout 5",
    "ramp new_checkout 25%",
)

_EVERYONE = 100


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key, the percent, and whether to wait."""
    add_key(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=_percent, help="a whole number from 0 to 100"
    )
    add_wait(parser)


def run(options: Options, out: Output) -> None:
    """Set the rollout, and tell of it."""
    check_wait(options)
    changed = ramp(options["key"], options["percent"])
    undo = ["ramp", changed.key, changed.old] if _is_percent(changed.old) else None
    tell_change_of_flag(changed, undo, out, options)


def _percent(text: str) -> int:
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdigit() and _is_percent(int(digits))):
        raise ArgumentTypeError(f"expected a whole number from 0 to 100, not {text!r}")
    return int(digits)


def _is_percent(number: object) -> bool:
    """Whether `ramp` takes it; another's table may hold more."""
    return isinstance(number, int) and 0 <= number <= _EVERYONE
