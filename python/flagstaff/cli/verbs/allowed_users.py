"""Allowed users: allow, allow --remove."""

from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff import changes
from flagstaff.changes.consequence import Consequence
from flagstaff.cli.support.change_arguments import add_change_arguments, add_yes
from flagstaff.cli.support.consequence import row_of, write_confirmed
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_flag_change
from flagstaff.cli.support.user_arguments import add_users, parse_users
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.history.kinds import Kind


def _add_arguments(parser: CommandParser) -> None:
    add_change_arguments(parser)
    add_users(parser)
    add_yes(parser)
    parser.add_argument(
        "--remove", action="store_true", help="remove the users from the allowed users"
    )


def _run(options: Options, out: Output) -> None:
    write = changes.remove_allowed_users if options["remove"] else changes.add_allowed_users
    key, users, version = options["key"], parse_users(options, out), options["expect_version"]
    # The command names the users, so only a large part of them is worth a question.
    [changed] = write_confirmed(
        lambda: [row_of(Kind.FLAG, key)],
        lambda: [write(key, users, expect_version=version)],
        options,
        out,
        asks_from=Consequence.MOST,
    )
    report_flag_change(changed, out, options)


ALLOW = Verb(
    name="allow",
    help="add users to the allowed users of a flag, or remove them",
    examples=(
        "allow new_checkout alice 42",
        "allow new_checkout --file beta.csv --reason beta",
        "allow new_checkout alice --remove",
    ),
    add_arguments=_add_arguments,
    run=_run,
)
