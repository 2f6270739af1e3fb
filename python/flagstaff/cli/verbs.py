"""The verbs of `manage.py flags`, and how one is run."""

from __future__ import annotations

from typing import Final

from django.core.management.base import CommandParser

from flagstaff.cli import (
    allow,
    create,
    delete,
    deny,
    explain,
    export,
    forget_user,
    history,
    impact,
    import_,
    kill,
    off,
    on,
    ramp,
    reader_role,
    restore,
    show,
    status,
    test,
    tick,
    undo,
    unknown,
    usage,
    value,
    watch,
    workers,
)
from flagstaff.cli import list as list_
from flagstaff.cli.errors import exit_statuses
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, Verb, add_verb
from flagstaff.cli.wait import check_wait
from flagstaff.cli.writing import attributed_by

__all__ = ["VERBS", "add_verbs", "run"]

VERBS: Final[dict[str, Verb]] = {
    "list": list_,
    "show": show,
    "on": on,
    "off": off,
    "kill": kill,
    "ramp": ramp,
    "allow": allow,
    "deny": deny,
    "create": create,
    "delete": delete,
    "explain": explain,
    "test": test,
    "impact": impact,
    "history": history,
    "watch": watch,
    "undo": undo,
    "restore": restore,
    "forget-user": forget_user,
    "value": value,
    "export": export,
    "import": import_,
    "tick": tick,
    "usage": usage,
    "unknown": unknown,
    "status": status,
    "workers": workers,
    "reader-role": reader_role,
}


def add_verbs(parser: CommandParser) -> None:
    """Give the command's parser a parser for each verb."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for name, verb in VERBS.items():
        add_verb(verbs, name, verb)


def run(options: Options, out: Output) -> None:
    """Do what was typed. Raises CommandError, with the exit status that fits."""
    with exit_statuses(), attributed_by(options):
        check_wait(options)
        VERBS[options["verb"]].run(options, out)
