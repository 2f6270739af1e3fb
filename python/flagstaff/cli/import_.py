from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff import serialization
from flagstaff.cli.cells import Column
from flagstaff.cli.errors import DIFFERS, FAILED, USAGE
from flagstaff.cli.formats import add_format, format_of
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.wait import add_wait, end
from flagstaff.cli.writing import add_claim, add_yes, confirm
from flagstaff.serialization.formats import LARGEST

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "make flags and values what a file says, in one change"
EXAMPLES = (
    "import flags.yaml --dry-run",
    'import flags.yaml --reason "release 42" --as deploy --wait',
    "import flags.yaml --delete-missing --yes",
    "import - --format json < flags.json",
)

# What is taken in, and over what.
_CHOICES = ("delete_missing", "skip_unknown_users", "ignore_versions")
# More names than a person reads.
_MOST_NAMED = 20
_CHANGE = {"create": "+", "change": "~", "delete": "-"}
_ROLES = {"create": "SUCCESS", "change": "WARNING", "delete": "ERROR"}
_COLUMNS = (
    Column(
        "action",
        header="",
        shown=lambda record: _CHANGE[record["action"]],
        role=lambda record: _ROLES[record["action"]],
    ),
    Column("kind", header=""),
    Column("key"),
    Column("summary", header="WHAT"),
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the file, and what is to be done with it."""
    parser.add_argument("path", metavar="FILE", help='the file; "-" reads the input')
    add_format(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show the difference and write nothing; the status is 6 where there is one",
    )
    parser.add_argument(
        "--delete-missing",
        action="store_true",
        help="delete what is not in the file, of the sections that it has",
    )
    parser.add_argument(
        "--skip-unknown-users", action="store_true", help="go on without users who are not here"
    )
    parser.add_argument(
        "--ignore-versions",
        action="store_true",
        help="write over what was changed since the file was exported with --versions",
    )
    parser.add_argument(
        "--expect-plan",
        metavar="PLAN",
        help="refuse if the difference is another one than that which --dry-run showed",
    )
    add_claim(parser)
    add_wait(parser)
    add_yes(parser)


def run(options: Options, out: Output) -> None:
    """Take the file in, or show what that would change."""
    path = options["path"]
    document = serialization.read(_text(path), format_of(options, path))
    how: dict[str, Any] = {name: options[name] for name in _CHOICES}
    if options["dry_run"]:
        _show(serialization.diff(document, **how), options, out)
        return
    expected = options["expect_plan"]
    if options["delete_missing"] and not options["yes"]:
        # Who says which plan it is has asked for that one, whatever a person says to this one.
        asked = _confirmed(serialization.diff(document, **how), options, out)
        expected = expected or asked
    imported = serialization.apply(document, expect_plan=expected, **how)
    _tell(imported.plan, out)
    if imported.undo:
        out.say(f"undo: {imported.undo.command}")
    undo = None if imported.undo is None else imported.undo.arguments
    end({**_document(imported.plan), "undo": undo}, out, options)


def _text(path: str) -> str:
    try:
        if path == "-":
            data = getattr(sys.stdin, "buffer", sys.stdin).read(LARGEST + 1)
        else:
            with Path(path).open("rb") as file:
                # One more than is read, so that it is told.
                data = file.read(LARGEST + 1)
        return data if isinstance(data, str) else data.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    except UnicodeDecodeError as error:
        told = f"{path} is no text in UTF-8: byte {error.start + 1:,} fits in none"
        raise CommandError(told, returncode=USAGE) from error


def _confirmed(plan: serialization.Plan, options: Options, out: Output) -> str | None:
    """Ask before something is deleted; what was asked about is what is done then."""
    gone = [step.key for step in plan.steps if step.action == "delete"]
    if not gone:
        return None
    named = ", ".join(gone[:_MOST_NAMED])
    more = len(gone) - _MOST_NAMED
    confirm(f"Delete {named}{f' and {more:,} more' if more > 0 else ''}?", options, out)
    return plan.fingerprint


def _show(plan: serialization.Plan, options: Options, out: Output) -> None:
    _tell(plan, out)
    if out.is_json:
        out.document(_document(plan))
    if not plan.steps:
        return
    if not out.is_json:
        out.say(f"to do just this: manage.py flags {shlex.join(_again(plan, options))}")
    many = "one change" if len(plan.steps) == 1 else f"{len(plan.steps):,} changes"
    raise CommandError(f"{many} would be made", returncode=DIFFERS)


def _again(plan: serialization.Plan, options: Options) -> list[str]:
    """What makes the same plan again, and does it."""
    chosen = [f"--{name.replace('_', '-')}" for name in _CHOICES if options[name]]
    read_as = ["--format", options["format"]] if options["format"] else []
    return ["import", options["path"], *read_as, *chosen, "--expect-plan", plan.fingerprint]


def _tell(plan: serialization.Plan, out: Output) -> None:
    if plan.skipped_users:
        out.say(f"left out, for they are no users here: {', '.join(plan.skipped_users)}")
    if not plan.steps:
        out.say("everything is so already, nothing to do")
    elif not out.is_json:
        out.records(_COLUMNS, [step.as_dict(plan.usernames) for step in plan.steps])
    if plan.steps and plan.unchanged:
        out.say(f"{plan.unchanged:,} {'are' if plan.unchanged > 1 else 'is'} so already")


def _document(plan: serialization.Plan) -> dict[str, Any]:
    return {
        "plan": plan.fingerprint,
        "changes": [step.as_dict(plan.usernames) for step in plan.steps],
        "same": plan.unchanged,
        "left_out": plan.skipped_users,
    }
