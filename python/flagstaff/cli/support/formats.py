"""The format of a file: YAML or JSON."""

from __future__ import annotations

from pathlib import PurePath

from django.core.management.base import CommandError, CommandParser

from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.verb import Options
from flagstaff.serialization.formats import Format

_BY_SUFFIX: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def add_format(parser: CommandParser) -> None:
    """Adds --format."""
    parser.add_argument(
        "--format",
        choices=["yaml", "json"],
        help="the default is the format of the file name's suffix, or YAML if there is no file",
    )


def format_of(options: Options, path: str | None) -> Format:
    """Returns the format. Raises CommandError without --format and a known suffix."""
    given: Format | None = options["format"]
    if given or path in (None, "-"):
        return given or "yaml"
    suffix = PurePath(path or "").suffix.lower()
    if suffix not in _BY_SUFFIX:
        known = ", ".join(_BY_SUFFIX)
        raise CommandError(
            f"{path} has none of the suffixes {known}: pass --format", returncode=USAGE
        )
    return _BY_SUFFIX[suffix]
