"""The context of an evaluation as arguments: --context NAME=VALUE."""

from __future__ import annotations

from argparse import ArgumentTypeError

from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._words.json_text import scalar_of
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.verb import Options
from flagstaff.conf.attribute_sources import BUILT_IN


def add_context(parser: CommandParser) -> None:
    """Adds --context."""
    parser.add_argument(
        "--context",
        action="append",
        default=[],
        type=_parse,
        metavar="NAME=VALUE",
        help="an attribute that the flag reads, such as country=DE, seats=5 or visitor=ID; may be "
        "repeated",
    )


def parse_context(options: Options) -> dict[str, object]:
    """Returns the attributes by name. Raises CommandError if one is given twice."""
    context: dict[str, object] = {}
    for name, value in options["context"]:
        if name in context:
            raise CommandError(
                f"--context sets {name!r} twice: pass each name once", returncode=USAGE
            )
        context[name] = value
    return context


def _parse(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError(f"expected NAME=VALUE, such as country=DE, not {text!r}")
    if name == "groups":
        raise ArgumentTypeError("'groups' is reserved; use another name")
    if name in BUILT_IN:
        raise ArgumentTypeError(
            f"{name!r} is built in: the user decides it; pass another USER, or use another name"
        )
    # The id of a visitor is a text, also if it looks like a number.
    return name, value if name == VISITOR else scalar_of(value)
