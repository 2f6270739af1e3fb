"""The users that are given as arguments or in a file → their primary keys."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.text import some
from flagstaff.cli.support.errors import FAILED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.standard_input import standard_input
from flagstaff.cli.support.verb import Options


def add_users(parser: CommandParser) -> None:
    """Adds the users, --file and --skip-unknown."""
    parser.add_argument("users", nargs="*", metavar="USER", help="a user's primary key or username")
    parser.add_argument(
        "--file", metavar="PATH", help='a file with one user per line; "-" is the standard input'
    )
    parser.add_argument("--skip-unknown", action="store_true", help="skip users that do not exist")


def parse_users(options: Options, out: Output) -> list[Any]:
    """Returns the primary keys. Queries users, and reads the file.

    Raises CommandError if a user does not exist, unless --skip-unknown is given.
    """
    texts = list(dict.fromkeys([*options["users"], *_lines(options["file"])]))
    if not texts:
        raise CommandError("no users: pass USER or --file", returncode=USAGE)
    table = allowed_user_table()
    pks = table.find_many(texts)
    unknown = [text for text in texts if text not in pks]
    if unknown:
        problem = f"no user has the primary key or username {some(map(repr, unknown))}"
        if not options["skip_unknown"]:
            guess = table.guess(unknown[0]) if len(unknown) == 1 else ""
            raise CommandError(
                f"{problem}; to skip unknown users, pass --skip-unknown{guess}",
                returncode=FAILED,
            )
        out.message(f"skipped: {problem}")
    return [pks[text] for text in texts if text in pks]


def label(user: FoundUser) -> str:
    """Returns the primary key and the username, as in "user 1 (alice)"."""
    has_name = user.name is not None and user.name != str(user.pk)
    return f"user {user.pk} ({user.name})" if has_name else f"user {user.pk}"


def evaluated_user(user: FoundUser | None) -> Any:
    """Returns the user to evaluate for; None for an anonymous one."""
    # Rules read the columns of the row. A primary key without a row is a user, too.
    return user and (user.pk if user.row is None else user.row)


def _lines(path: str | None) -> Iterable[str]:
    """Returns the lines of a file, or the first column of a CSV file."""
    if path is None:
        return []
    try:
        text = (
            standard_input().read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
        )
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    cells = (row[0].strip() for row in csv.reader(StringIO(text), skipinitialspace=True) if row)
    return [cell for cell in cells if cell]
