"""A JSON list as an argument: rules, or the conditions of a segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.json_text import parse_json
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.standard_input import standard_input


def add_json_file(parser: CommandParser, name: str, content: str) -> None:
    """Adds the name of a file with JSON. `content` is what the file has."""
    parser.add_argument(
        name,
        metavar="FILE",
        help=f'a file with {content} as a JSON list; "-" is the standard input',
    )


def read_rules(text: str) -> Any:
    """Returns rules from JSON, which begins with a bracket, or from a file. Raises CommandError."""
    return _parsed(text) if text.lstrip().startswith("[") else read_json_file(text)


def read_json_file(name: str) -> Any:
    """Returns the JSON of the file, or of the standard input. Raises CommandError."""
    try:
        text = standard_input().read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {name}: {error.strerror}", returncode=USAGE) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is not UTF-8 text", returncode=USAGE) from error
    return _parsed(text)


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise CommandError(f"not valid JSON: {error}", returncode=USAGE) from error
