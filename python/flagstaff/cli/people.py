"""What was typed, or stands in a file, for many users → their primary keys."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.names import user_field
from flagstaff.changes.allowed_users import chunks, there_are
from flagstaff.cli.errors import FAILED, USAGE
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.conf import conf

__all__ = ["add_people", "people"]

_MOST_NAMED = 10


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
    found = _by_primary_key(typed)
    found |= _by_username([text for text in typed if text not in found])
    unknown = [text for text in typed if text not in found]
    if unknown:
        told = f"no user has the primary key or username {_few(unknown)}"
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
    firsts = (line.partition(",")[0].strip().strip('"') for line in text.splitlines())
    return [first for first in firsts if first]


def _by_primary_key(texts: list[str]) -> dict[str, Any]:
    field = user_field(conf.flag_model)
    pks: dict[str, Any] = {}
    for text in texts:
        try:
            pk = field.to_python(text)
            field.run_validators(pk)
        except ValidationError:
            continue
        pks[text] = pk
    here = there_are(pks.values())
    return {text: pk for text, pk in pks.items() if pk in here}


def _by_username(texts: list[str]) -> dict[str, Any]:
    field = user_field(conf.flag_model)
    username = getattr(field.model, "USERNAME_FIELD", None)
    if username is None:
        return {}
    users = field.model._base_manager.using(conf.database)
    found: dict[str, Any] = {}
    for some in chunks(texts):
        named = users.filter(**{f"{username}__in": some})
        found.update(named.values_list(username, field.name))
    return found


def _few(texts: list[str]) -> str:
    named = ", ".join(map(repr, texts[:_MOST_NAMED]))
    more = len(texts) - _MOST_NAMED
    return f"{named} and {more:,} more" if more > 0 else named
