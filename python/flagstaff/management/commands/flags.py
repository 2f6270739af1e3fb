"""`manage.py flags`: shows and changes flags and values from a terminal."""

from __future__ import annotations

import os
import sys
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.core.management.base import no_translations as in_english
from django.core.management.color import no_style

from flagstaff.cli.errors import USAGE
from flagstaff.cli.main import Verbs, run
from flagstaff.cli.output import Output, error_as_json
from flagstaff.cli.verb import VerbParser

__all__ = ["Command"]

_INTERRUPTED = 130


class _Formatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of the options, and line breaks as they are."""


class Command(BaseCommand):
    """The entry point for Django. The verbs are in `flagstaff.cli`."""

    help = "Show and change flags and values."
    suppressed_base_arguments = {
        "--version",
        "--verbosity",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
    }
    # A flag can be turned off while a system check of another app fails.
    requires_system_checks = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if os.environ.get("NO_COLOR"):
            self.style = no_style()
            self.stderr.style_func = None

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Returns the parser of the command."""
        base = super().create_parser(prog_name, subcommand, add_help=False, **kwargs)
        parser = VerbParser(
            parents=[base],
            prog=base.prog,
            description=base.description,
            epilog='Each verb has its own help and examples: "manage.py flags rollout --help".',
            formatter_class=_Formatter,
            called_from_command_line=base.called_from_command_line,
        )
        parser.add_verbs(Verbs(), dest="verb")
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        """Runs the command. Ctrl-C and a closed pipe end it without a traceback."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # Old encodings lack many characters.
                stream.reconfigure(encoding="utf-8")
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            # The interpreter flushes the buffer at its end, which would fail again.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    @in_english
    def handle(self, *args: Any, **options: Any) -> None:
        """Runs the verb."""
        if options["verb"] is None:
            self.stdout.write(self.create_parser("manage.py", "flags").format_help())
            raise CommandError("no verb: pass one of the verbs above", returncode=USAGE)
        is_process = getattr(self, "_called_from_command_line", False)
        out = Output(self, options, is_process=is_process)
        try:
            run(options, out)
        except CommandError as error:
            # From Python, and with --traceback, the error itself is wanted.
            if not (is_process and out.is_json) or options["traceback"]:
                raise
            self.stderr.write(error_as_json(str(error), error.returncode), str)
            sys.exit(error.returncode)
