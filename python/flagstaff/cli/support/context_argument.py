"""The context of an evaluation as arguments: --context NAME=VALUE."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine.typed_context import parse_pairs
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.verb import Options


def add_context(parser: CommandParser) -> None:
    """Adds --context."""
    parser.add_argument(
        "--context",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an attribute that rules read, such as country=DE, seats=5 or visitor=ID; may be "
        "repeated",
    )


def parse_context(options: Options) -> dict[str, object]:
    """Returns the attributes by name. Raises CommandError if one of them cannot be used."""
    typed = parse_pairs(options["context"])
    if typed.problems:
        raise CommandError(f"argument --context: {'; '.join(typed.problems)}", returncode=USAGE)
    return typed.attributes
