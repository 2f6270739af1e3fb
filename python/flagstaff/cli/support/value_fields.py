"""--description, --secret, --type and --choices: the fields of a value beside its JSON."""

from __future__ import annotations

from argparse import ArgumentTypeError, BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandParser

from flagstaff._text.json_text import UnreadableJson, parse_json
from flagstaff._text.value_rules import TYPES, type_of
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.constraints import CHOICES, TYPE, has_rule
from flagstaff.exceptions import InvalidChangeError

__all__ = ["add_value_fields", "value_fields", "warn_of_new_type"]

_ANY = "any"


def add_value_fields(parser: CommandParser) -> None:
    """Adds the options that set these fields."""
    parser.add_argument("--description", metavar="TEXT", help="what the value is for")
    parser.add_argument(
        "--secret",
        action=BooleanOptionalAction,
        help="mask the value in lists, and store only a digest of it in the history",
    )
    parser.add_argument(
        "--type", choices=(_ANY, *TYPES), help="the JSON type that the value must have"
    )
    parser.add_argument(
        "--choices",
        type=_choices,
        metavar="JSON",
        help="the JSON list of allowed values, such as "
        """'["stripe", "paypal"]'; '[]' allows any value""",
    )


def value_fields(options: Options) -> dict[str, Any]:
    """Returns the fields to set. Raises InvalidChangeError if the value model has no rules."""
    names = ("description", "secret", TYPE, CHOICES)
    given = {name: options[name] for name in names if options[name] is not None}
    if {TYPE, CHOICES}.intersection(given) and not has_rule(conf.value_model):
        raise InvalidChangeError(
            "the value model of this project has no columns for types and choices; add the fields "
            "`type` and `choices` of AbstractKeyValueStore, and run makemigrations and migrate"
        )
    if given.get(TYPE) == _ANY:
        given[TYPE] = ""
    return given


def warn_of_new_type(key: str, old: object, new: object, out: Output) -> None:
    """Warns if a written value has another type of JSON than the old one."""
    if old is None or isinstance(old, UnreadableJson):
        return
    types = type_of(old), type_of(new)
    if types[0] != types[1]:
        out.message(
            f"warning: the type of {key} has changed from {types[0]} to {types[1]}; "
            "code that reads it may fail"
        )


def _choices(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not valid JSON: {error}") from error
