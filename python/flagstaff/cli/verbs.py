"""The verbs of `manage.py flags`, and how one is run."""

from __future__ import annotations

from typing import Final

from django.core.management.base import CommandParser

from flagstaff.cli import explain, off, on, ramp, reader_role, show, status, value
from flagstaff.cli import list as list_
from flagstaff.cli.errors import exit_statuses
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, Verb, add_verb

__all__ = ["VERBS", "add_verbs", "run"]

VERBS: Final[dict[str, Verb]] = {
    "list": list_,
    "show": show,
    "on": on,
    "off": off,
    "ramp": ramp,
    "explain": explain,
    "value": value,
    "status": status,
    "reader-role": reader_role,
}


def add_verbs(parser: CommandParser) -> None:
    """Give the command's parser a parser for each verb."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for name, verb in VERBS.items():
        add_verb(verbs, name, verb)


def run(options: Options, out: Output) -> None:
    """Do what was typed. Raises CommandError, with the exit status that fits."""
    with exit_statuses():
        VERBS[options["verb"]].run(options, out)
