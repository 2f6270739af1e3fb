from __future__ import annotations

from typing import Final

from django.core.management.base import CommandParser

from flagstaff.cli import value_get, value_list, value_set
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, Verb, add_verb

__all__ = ["ACTIONS", "EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "get, set or list values"
EXAMPLES = (*value_get.EXAMPLES, *value_set.EXAMPLES, *value_list.EXAMPLES)

ACTIONS: Final[dict[str, Verb]] = {"get": value_get, "set": value_set, "list": value_list}


def add_arguments(parser: CommandParser) -> None:
    """Give the parser a parser for each action."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, action in ACTIONS.items():
        add_verb(actions, name, action)


def run(options: Options, out: Output) -> None:
    """Do the action."""
    ACTIONS[options["action"]].run(options, out)
