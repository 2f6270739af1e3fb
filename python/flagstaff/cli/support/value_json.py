"""The JSON of a value: an argument, or the standard input."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.json_text import DuplicateNameError, parse_json
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.standard_input import standard_input
from flagstaff.cli.support.verb import Options

# A text that starts like this is JSON with a mistake, not a string without quotes.
_STARTS_OF_JSON = ("{", "[", '"')
_MAX_RETYPED = 200


def add_value_json(parser: CommandParser) -> None:
    """Adds JSON, which must be given."""
    parser.add_argument(
        "text",
        metavar="JSON",
        help="""such as 50, true, '"stripe"' or '["a", "b"]'; "-" is the standard input""",
    )


def add_new_json(parser: CommandParser) -> None:
    """Adds --value, for a change of other fields that needs another value, too."""
    parser.add_argument(
        "--value",
        dest="text",
        metavar="JSON",
        help='also set the value: the present one may break the new rule; "-" is the standard '
        "input",
    )


def read_value_json(options: Options, *, verb: str, secret: bool) -> Any:
    """Returns the value of the JSON. Reads the standard input if the argument is "-".

    Raises CommandError, whose message has no part of a secret value. `verb` is the one that a
    person should type again.
    """
    text = standard_input().read() if options["text"] == "-" else options["text"]
    try:
        return parse_json(text)
    except DuplicateNameError as error:
        # The message may end up in a log.
        problem = "an object has a name twice" if secret else str(error)
        raise CommandError(f"{problem}; remove one", returncode=USAGE) from None
    except ValueError as error:
        raise CommandError(
            f"not valid JSON: {error}{_quoting_advice(options['key'], text, verb, secret=secret)}",
            returncode=USAGE,
        ) from error


def _quoting_advice(key: str, text: str, verb: str, *, secret: bool) -> str:
    """Returns how to pass the text as a string, if it looks like one."""
    text = text.strip()
    if text[:1] in _STARTS_OF_JSON or len(text) > _MAX_RETYPED:
        return ""
    quoted = json.dumps("…" if secret else text, ensure_ascii=False)
    return f"; to pass a string: manage.py flags value {verb} {shlex.join([key, quoted])}"
