from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff.changes import switch
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.wait import add_wait, check_wait

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "turn a flag on, for its rollout and its allow-list"
EXAMPLES = ("on new_checkout",)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key, and whether to wait."""
    add_key(parser)
    add_wait(parser)


def run(options: Options, out: Output) -> None:
    """Turn the flag on, and tell of it."""
    check_wait(options)
    key = options["key"]
    tell_change_of_flag(switch(key, enabled=True), ["off", key], out, options)
