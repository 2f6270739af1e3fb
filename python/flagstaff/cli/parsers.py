"""What the parsers of all verbs have in common."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from django.core.management.base import CommandParser

from flagstaff.cli.output import Output

__all__ = ["Options", "Verb", "add_key", "add_verb", "with_examples"]

Options = Mapping[str, Any]

# What every command of Django takes, so that it may also stand behind the verb.
_OF_EVERY_COMMAND = ("--settings", "--pythonpath")
_SWITCHES_OF_EVERY_COMMAND = ("--traceback", "--no-color", "--force-color")


class Verb(Protocol):
    """A module of this package: its help, its arguments, and what it does."""

    HELP: str

    @property
    def EXAMPLES(self) -> tuple[str, ...]:  # noqa: N802 (a constant of the module)
        """What is typed after "manage.py flags"."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Give the verb's parser its arguments."""

    def run(self, options: Options, out: Output) -> None:
        """Do it."""


def add_verb(verbs: Any, name: str, verb: Verb) -> None:
    """Add the parser of a verb, which has its help, its examples and the options of all."""
    parser = verbs.add_parser(
        name,
        parents=[_of_all_verbs()],
        help=verb.HELP.replace("%", "%%"),
        **with_examples(verb.HELP, verb.EXAMPLES),
    )
    verb.add_arguments(parser)


def add_key(parser: CommandParser, what: str = "flag", *, nargs: str | None = None) -> None:
    """Give a verb's parser the key that it acts on."""
    parser.add_argument("key", metavar="KEY", nargs=nargs, help=f"the key of the {what}")


def with_examples(description: str, examples: Iterable[str]) -> dict[str, Any]:
    """What a parser is made with so that its help ends in examples."""
    return {
        "description": f"{description[0].upper()}{description[1:]}.",
        "epilog": "\n".join(["examples:", *(f"  manage.py flags {line}" for line in examples)]),
        "formatter_class": RawDescriptionHelpFormatter,
    }


def _of_all_verbs() -> ArgumentParser:
    parser = ArgumentParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON document, with nothing cut")
    for option in _OF_EVERY_COMMAND:
        parser.add_argument(option, help=SUPPRESS)
    for option in _SWITCHES_OF_EVERY_COMMAND:
        parser.add_argument(option, action="store_true", help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, help=SUPPRESS)
    return parser
