"""The standard input, which a process may lack."""

from __future__ import annotations

import sys
from typing import TextIO

from django.core.management.base import CommandError

from flagstaff.cli.support.errors import USAGE


def standard_input() -> TextIO:
    """Returns the standard input. Raises CommandError if it is closed."""
    if _is_closed():
        raise CommandError("standard input is closed: redirect a file to it", returncode=USAGE)
    return sys.stdin


def is_terminal() -> bool:
    """Returns True if a person can type an answer."""
    return not _is_closed() and sys.stdin.isatty()


def _is_closed() -> bool:
    # Python sets it to None if the process starts without it.
    return sys.stdin is None or getattr(sys.stdin, "closed", False)
