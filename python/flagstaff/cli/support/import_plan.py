"""The options of verbs that import, and how they print a plan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_VALUE, counted, some
from flagstaff.cli.support.change_arguments import add_attribution
from flagstaff.cli.support.errors import DIFFERS
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import add_wait
from flagstaff.serialization import Plan

_SIGNS = {"create": "+", "change": "~", "delete": "-"}
_STYLES = {"create": "SUCCESS", "change": "WARNING", "delete": "ERROR"}
#: The signs of the actions.
ACTION = Column(
    "action",
    lambda record: _SIGNS.get(record["action"], ""),
    header="",
    style=lambda record: _STYLES.get(record["action"]),
)
_COLUMNS = (ACTION, Column("kind", header=""), Column("key"), Column("summary", header="CHANGE"))


def add_import_options(parser: CommandParser) -> None:
    """Adds --dry-run, --expect-plan, --skip-unknown, and the options of changes."""
    parser.add_argument(
        "--dry-run",
        dest="only_diff",
        action="store_true",
        help="show the differences and write nothing; the exit status is 6 if there are any",
    )
    parser.add_argument(
        "--expect-plan",
        metavar="PLAN",
        help="the id that --dry-run printed; refuse if the differences have changed since then",
    )
    parser.add_argument(
        "--skip-unknown",
        dest="skip_unknown_users",
        action="store_true",
        help="skip users that do not exist",
    )
    # Its own --dry-run computes the differences, and has an exit status of its own.
    add_attribution(parser, dry_run=False)
    add_wait(parser)


def option_switches(options: Options, names: dict[str, str]) -> list[str]:
    """Returns the options that are set, from `names`: the options by their arguments."""
    return [option for name, option in names.items() if options[name]]


def end_dry_run(plan: Plan, arguments: Sequence[str], out: Output) -> None:
    """Prints the command that applies the plan. Raises CommandError if it has steps.

    `arguments` are those of the command without the plan.
    """
    if not plan.steps:
        return
    if not out.is_json:
        line = shlex.join([*arguments, "--expect-plan", plan.fingerprint])
        out.message(f"to apply exactly this: python manage.py flags {line}")
    raise CommandError(f"{counted(len(plan.steps), 'change')} would be made", returncode=DIFFERS)


def print_plan(plan: Plan, out: Output) -> None:
    """Prints the steps, except with --json."""
    print_skipped_users(plan.skipped_users, out)
    if not plan.steps:
        out.message("already up to date")
    elif not out.is_json:
        steps = [step.as_dict(plan.usernames, limit=MAX_VALUE) for step in plan.steps]
        out.records(_COLUMNS, steps)
    if plan.steps and plan.unchanged:
        out.message(f"{plan.unchanged:,} already up to date")


def print_skipped_users(users: Sequence[str], out: Output) -> None:
    """Prints the users that --skip-unknown has skipped."""
    if users:
        out.message(f"skipped users that do not exist: {some(users)}")


def plan_document(plan: Plan) -> Record:
    """Returns the plan for --json."""
    return {
        "plan": plan.fingerprint,
        "changes": [step.as_dict(plan.usernames) for step in plan.steps],
        "unchanged": plan.unchanged,
        "skipped_users": plan.skipped_users,
    }
