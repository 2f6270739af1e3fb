from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from flagstaff import serialization
from flagstaff.cli.errors import FAILED
from flagstaff.cli.formats import add_format, format_of
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "write flags and values to a file, for git or for another database"
EXAMPLES = (
    "export --file flags.yaml",
    "export new_checkout page_size --format json",
    "export --versions --file flags.yaml",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser what to write, where, and how."""
    parser.add_argument(
        "keys", nargs="*", metavar="KEY", help="of a flag or a value; else all of them"
    )
    parser.add_argument("--file", metavar="PATH", help="where to; else the standard output")
    add_format(parser)
    parser.add_argument(
        "--versions",
        action="store_true",
        help="with the version of each, over which an import does not write something newer",
    )


def run(options: Options, out: Output) -> None:
    """Write it, and say how much it was."""
    path = options["file"]
    format_ = "json" if out.is_json and not options["format"] else format_of(options, path)
    document = serialization.export(options["keys"] or None, versions=options["versions"])
    if path in (None, "-"):
        text = serialization.as_text(document, format_, ascii_only=not out.is_unicode)
        out.line(text.removesuffix("\n"))
        return
    _write(path, serialization.as_text(document, format_))
    flags, values = (len(document.get(name, {})) for name in ("flags", "values"))
    told = f"{flags:,} flag{'s' * (flags != 1)} and {values:,} value{'s' * (values != 1)}"
    out.say(f"{path}: {told}")


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
