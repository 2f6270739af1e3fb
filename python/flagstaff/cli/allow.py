from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.cli.outcomes import tell_change_of_flag
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.people import add_people, people
from flagstaff.cli.writing import add_change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "put users on a flag's allow-list"
EXAMPLES = (
    "allow new_checkout alice 42",
    "allow new_checkout --file beta.csv --reason beta",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the users."""
    add_change(parser)
    add_people(parser)


def run(options: Options, out: Output) -> None:
    """Put them on the list, and tell of it."""
    users = people(options, out)
    changed = changes.add_allowed_users(
        options["key"], users, expect_version=options["expect_version"]
    )
    tell_change_of_flag(changed, out, options)
