"""Personal data in the history: forget-user."""

from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._words.text import counted
from flagstaff.cli.support.change_arguments import add_dry_run, add_yes, require_confirmation
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import finish
from flagstaff.history import forget_user


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("pk", metavar="PK", help="the primary key of the deleted user")
    add_yes(parser)
    add_dry_run(parser)


def _run(options: Options, out: Output) -> None:
    pk = options["pk"]
    question = f"Remove user {pk} from the history? This cannot be undone."
    require_confirmation(question, options, out)
    count = forget_user(pk)
    entries = counted(count, "history entry", "history entries")
    out.message(f"removed user {pk} from {entries}")
    finish({"pk": pk, "entries": count}, out, options, written=count > 0)


FORGET_USER = Verb(
    name="forget-user",
    help="remove a deleted user from the history",
    examples=("forget-user 42 --yes",),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
