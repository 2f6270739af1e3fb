from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.people import add_people, people
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "take users off a flag's allow-list"
EXAMPLES = (
    "deny new_checkout alice",
    "deny new_checkout --file left.csv",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the users."""
    add_change(parser)
    add_people(parser)


def run(options: Options, out: Output) -> None:
    """Take them off the list, and tell of it."""
    users = people(options, out)
    changed = changes.remove_allowed_users(
        options["key"], users, expect_version=options["expect_version"]
    )
    tell_change_of_flag(changed, out, options)
