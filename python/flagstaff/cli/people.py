"""What was typed, or stands in a file, for many users → their primary keys."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.users import allowed_user_table
from flagstaff._text.lists import join_some
from flagstaff.cli.errors import FAILED, USAGE
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options

__all__ = ["add_people", "people"]


def add_people(parser: CommandParser) -> None:
    """Give a verb's parser the users that it is about."""
    parser.add_argument("users", nargs="*", metavar="USER", help="a user's primary key or username")
    parser.add_argument(
        "--file", metavar="PATH", help='a file with a user a line; "-" reads the input'
    )
    parser.add_argument(
        "--skip-unknown", action="store_true", help="go on without those whom nobody knows"
    )


def people(options: Options, out: Output) -> list[Any]:
    """The primary keys. Raises CommandError where somebody is unknown, unless that is skipped."""
    typed = list(dict.fromkeys([*options["users"], *_lines(options["file"])]))
    if not typed:
        raise CommandError("which users? Type some, or give a --file", returncode=USAGE)
    found = allowed_user_table().find_many(typed)
    unknown = [text for text in typed if text not in found]
    if unknown:
        told = f"no user has the primary key or username {join_some(map(repr, unknown))}"
        if not options["skip_unknown"]:
            raise CommandError(f"{told}; --skip-unknown goes on without", returncode=FAILED)
        out.say(f"left out: {told}")
    return [found[text] for text in typed if text in found]


def _lines(path: str | None) -> Iterable[str]:
    """The lines of a file, or of the first column of a table that is separated by commas."""
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    firsts = (row[0].strip() for row in csv.reader(StringIO(text), skipinitialspace=True) if row)
    return [first for first in firsts if first]
