"""The options for the fields of a value, such as --description, --type and --rules."""

from __future__ import annotations

from argparse import ArgumentTypeError, BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandParser

from flagstaff._stored_value_schema import CHOICES, CLIENT_SIDE, SECRET, TYPE
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import RULES
from flagstaff._words.json_text import parse_json
from flagstaff._words.value_schema import TYPES
from flagstaff.cli.support.json_argument import read_rules
from flagstaff.cli.support.verb import Options

_ANY = "any"


def add_value_fields(parser: CommandParser) -> None:
    """Adds the options that set these fields."""
    parser.add_argument("--description", metavar="TEXT", help="what the value is for")
    parser.add_argument(
        "--secret",
        action=BooleanOptionalAction,
        help="mask the value in lists, and do not store it in the history",
    )
    parser.add_argument(
        "--client-side",
        action=BooleanOptionalAction,
        help="let browsers read the value over OFREP; a secret value cannot be client side",
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
    parser.add_argument(
        "--rules",
        metavar="JSON",
        help='the targeting rules as a JSON list, or a file with it; "-" is the standard input',
    )
    parser.add_argument(
        "--bucket-by",
        metavar="UNIT",
        help='what the percentages of rules count: "user", "visitor", or an attribute such as '
        '"organization"',
    )


def value_fields(options: Options) -> dict[str, Any]:
    """Returns the fields to set. Reads the file of rules.

    Raises CommandError for rules that are not JSON.
    """
    names = ("description", SECRET, CLIENT_SIDE, TYPE, CHOICES, RULES, BUCKET_BY)
    fields = {name: options[name] for name in names if options[name] is not None}
    if RULES in fields:
        fields[RULES] = read_rules(fields[RULES])
    if fields.get(TYPE) == _ANY:
        fields[TYPE] = ""
    return fields


def _choices(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not valid JSON: {error}") from error
