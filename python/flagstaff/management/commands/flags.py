"""`manage.py flags`: look at flags and values, and change them, from a terminal."""

from __future__ import annotations

import os
import sys
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.core.management.base import no_translations as in_english
from django.core.management.color import no_style

from flagstaff.cli.output import Output
from flagstaff.cli.verbs import add_verbs, run

__all__ = ["Command"]

_INTERRUPTED = 130


class _Formatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of the options, and examples as they are."""


class Command(BaseCommand):
    """Everything is in `flagstaff.cli`; this is where Django looks for it."""

    help = "Look at flags and values, and change them."
    suppressed_base_arguments = {
        *("--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
        *("--no-color", "--force-color"),
    }
    # A flag must be turned off also where a check of another app fails.
    requires_system_checks = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if os.environ.get("NO_COLOR"):
            self.style = no_style()
            self.stderr.style_func = None

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Make the parser, whose help says where to go on."""
        epilog = 'Each verb has its own help and examples: "manage.py flags ramp --help".'
        return super().create_parser(
            prog_name, subcommand, epilog=epilog, formatter_class=_Formatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        """Give the parser the verbs."""
        add_verbs(parser)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run it, and leave quietly where the person stops it or the reader has gone."""
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            # What is still in the buffer has nowhere to go when the interpreter ends.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    @in_english
    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the verb says."""
        is_json = options.get("json", False)
        run(options, Output(self.stdout, self.stderr, self.style, is_json=is_json))
