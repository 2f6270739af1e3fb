from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.rows import flag_row
from flagstaff._tables.users import allowed_user_table
from flagstaff.cli.cells import Column, Record
from flagstaff.cli.errors import FAILED
from flagstaff.cli.explain import explained
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key
from flagstaff.cli.walk import walk

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "say what each of some users gets, and why"
EXAMPLES = (
    "test new_checkout alice 42",
    "test new_checkout alice bob --expect on",
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key, the users, and what they should get."""
    add_key(parser)
    parser.add_argument("users", nargs="+", metavar="USER", help="a user's primary key or username")
    parser.add_argument(
        "--expect",
        dest="expected",
        choices=("on", "off"),
        help="fail unless each of them gets this",
    )


def run(options: Options, out: Output) -> None:
    """Print a line for each user. Raises CommandError where one of them gets something else."""
    key, expected = options["key"], options["expected"]
    # An unknown key, and a database that is away, are told of here.
    flag_row(key)
    records = list(_records(key, options["users"]))
    out.records(_COLUMNS, records)
    wrong = [record["typed"] for record in records if expected not in (None, record["answer"])]
    if wrong:
        told = f"{key} is not {expected} for {len(wrong)} of {len(records)} users"
        raise CommandError(f"{told}: {', '.join(wrong)}", returncode=FAILED)


def _records(key: str, typed: list[str]) -> Iterator[dict[str, Any]]:
    for text in typed:
        user = allowed_user_table().find(text)
        explanation = explained(key, user)
        steps = walk(explanation, f"user {user.pk}")
        yield {
            "typed": text,
            "answer": "on" if explanation.value else "off",
            "why": next(step.why for step in steps if step.decides),
            **asdict(explanation),
            "user": asdict(user),
        }


def _who(record: Record) -> str:
    pk, typed = str(record["user"]["pk"]), record["typed"]
    name = record["user"]["name"] or "no such user"
    return f"{pk} ({name})" if name != pk else typed


def _role(record: Record) -> str | None:
    return "SUCCESS" if record["value"] else None


_COLUMNS = (
    Column("typed", header="USER", shown=_who),
    Column("answer", role=_role),
    Column("reason"),
    Column("why", cut=True),
)
