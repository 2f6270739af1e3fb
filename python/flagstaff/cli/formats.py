"""Which format a file has: what was typed, or what its name says."""

from __future__ import annotations

from pathlib import PurePath

from django.core.management.base import CommandError, CommandParser

from flagstaff.cli.errors import USAGE
from flagstaff.cli.parsers import Options
from flagstaff.serialization.formats import Format

__all__ = ["add_format", "format_of"]

_BY_SUFFIX: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def add_format(parser: CommandParser) -> None:
    """Give a verb's parser the option that says it."""
    parser.add_argument(
        "--format",
        choices=["yaml", "json"],
        help="else the name of the file says it, and without one it is YAML",
    )


def format_of(options: Options, path: str | None) -> Format:
    """The format. Raises CommandError where the name does not say it."""
    given: Format | None = options["format"]
    if given or path in (None, "-"):
        return given or "yaml"
    suffix = PurePath(path or "").suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise CommandError(
            f"{path} ends in none of {', '.join(_BY_SUFFIX)}; say --format", returncode=USAGE
        )
    return _BY_SUFFIX[suffix]
