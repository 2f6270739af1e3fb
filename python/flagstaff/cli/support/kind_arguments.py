"""--value and --segment: the kind of row that a key is of, if it is not the key of a flag."""

from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff.cli.support.verb import Options
from flagstaff.history.kinds import Kind

_KINDS = {"value": Kind.VALUE, "segment": Kind.SEGMENT}


def add_kinds(parser: CommandParser, help: str) -> None:  # noqa: A002 (as in argparse)
    """Adds --value and --segment. `help` has %s in the place of the kind."""
    kinds = parser.add_mutually_exclusive_group()
    for name in _KINDS:
        kinds.add_argument(f"--{name}", action="store_true", help=help % name)


def chosen_kind(options: Options) -> Kind | None:
    """Returns the kind of --value or --segment; None without these options."""
    return next((kind for name, kind in _KINDS.items() if options[name]), None)


def kind_of_key(options: Options) -> Kind:
    """Returns the kind of the row that has KEY."""
    return chosen_kind(options) or Kind.FLAG
