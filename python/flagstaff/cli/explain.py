from __future__ import annotations

from dataclasses import asdict

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explain
from flagstaff._tables.rows import flag_row
from flagstaff._tables.users import FoundUser, allowed_user_table
from flagstaff.cli.errors import FAILED
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.walk import STEPS, walk

__all__ = ["EXAMPLES", "HELP", "add_arguments", "explained", "run"]

HELP = "show step by step why a user has a flag, or has it not"
EXAMPLES = (
    "explain new_checkout 42",
    "explain new_checkout alice",
    "explain new_checkout --anonymous",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and who asks."""
    add_key(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("user", metavar="USER", nargs="?", help="a user's primary key or username")
    who.add_argument("--anonymous", action="store_true", help="for somebody who is not logged in")


def run(options: Options, out: Output) -> None:
    """Print the walk, with the step marked that decides."""
    key = options["key"]
    # An unknown key, and a database that is away, are told of here.
    flag_row(key)
    user = None if options["anonymous"] else allowed_user_table().find(options["user"])
    if user and user.by is None:
        out.say(f"no user has the primary key {user.pk}; this is what one would get")
    explanation = explained(key, user)
    steps = [step.as_dict() for step in walk(explanation, _called(user) if user else None)]
    if out.is_json:
        out.document({**asdict(explanation), "user": user and asdict(user), "steps": steps})
        return
    out.lead("answer", _answer(explanation, user))
    out.records(STEPS, steps)


def explained(key: str, user: FoundUser | None) -> Explanation:
    """How the answer for a user comes about, in the database as it is now."""
    # What this process has in memory may be a moment older.
    with read_own_writes():
        explanation = explain(key, user.pk if user else None)
    if explanation.error_code == "PROVIDER_NOT_READY":
        raise CommandError("the database cannot be asked for this flag", returncode=FAILED)
    return explanation


def _answer(explanation: Explanation, user: FoundUser | None) -> str:
    on = "on" if explanation.value else "off"
    if user is None:
        return f"{explanation.key} is {on} for anonymous users."
    found = f", found by {user.by}" if user.by else ""
    return f"{explanation.key} is {on} for {_called(user)}{found}."


def _called(user: FoundUser) -> str:
    named = user.name is not None and user.name != str(user.pk)
    return f"user {user.pk} ({user.name})" if named else f"user {user.pk}"
