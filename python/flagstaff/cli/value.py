from __future__ import annotations

from typing import Final

from django.core.management.base import CommandParser

from flagstaff.cli import value_create, value_get, value_list, value_set, value_unset
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, Verb, add_verb

__all__ = ["ACTIONS", "EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "get, set, create, unset or list values"

ACTIONS: Final[dict[str, Verb]] = {
    "get": value_get,
    "set": value_set,
    "create": value_create,
    "unset": value_unset,
    "list": value_list,
}
EXAMPLES = tuple(line for action in ACTIONS.values() for line in action.EXAMPLES)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser a parser for each action."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, action in ACTIONS.items():
        add_verb(actions, name, action)


def run(options: Options, out: Output) -> None:
    """Do the action."""
    ACTIONS[options["action"]].run(options, out)
