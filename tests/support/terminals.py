"""Runs `manage.py flags` in a pipe or on a terminal, with the shop of the documentation."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from io import StringIO
from typing import Any, NamedTuple
from unittest.mock import patch

from django.contrib.auth.models import User
from django.core.management import CommandError
from django.core.management.color import no_style
from django.db import connection
from django.utils.timezone import override

from flagstaff.management.commands.flags import Command
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support import sql
from tests.support.usage_rows import add_usage

OPENED = datetime(2026, 11, 20, 8, 17, tzinfo=timezone.utc)
REVIEWS, PAGE = "Reviews before everybody sees them", "One page instead of three"


class Ran(NamedTuple):
    """The exit status of a command, and its output."""

    status: int
    out: str
    err: str


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def flags(*arguments: str) -> Ran:
    """Runs the command in this process, with pipes."""
    out, err = StringIO(), StringIO()
    return Ran(_run(arguments, out, err), out.getvalue(), err.getvalue())


def run(line: str) -> Ran:
    """Runs a line such as "off new_checkout", with pipes."""
    return flags(*shlex.split(line))


def ok(line: str) -> Ran:
    """Runs a line that succeeds."""
    ran = run(line)
    assert ran.status == 0, ran.err
    return ran


def asked(line: str, *answers: str | Callable[[], str]) -> Ran:
    """Runs a line on a terminal where a person types these answers, which are all asked for.

    A function is called when the question is asked, and returns the answer.
    """
    left = list(answers)

    def answer() -> str:
        one = left.pop(0)
        return one if isinstance(one, str) else one()

    out, err = StringIO(), Terminal()
    with patch("sys.stdin", Terminal()), patch("builtins.input", answer):
        status = _run(shlex.split(line), out, err, is_process=True)
    assert not left, err.getvalue()
    return Ran(status, out.getvalue(), err.getvalue())


def document(*arguments: str) -> Any:
    """Returns the document of --json."""
    return json.loads(flags(*arguments, "--json").out)


def rows(*arguments: str) -> list[list[str]]:
    """Returns the fields between tabs, by line."""
    return [line.split("\t") for line in flags(*arguments).out.splitlines()]


def undo_of(printed: str) -> str:
    """Returns the line after `manage.py flags` of the one command that undoes a change."""
    found: list[str] = re.findall(r"^undo: python manage\.py flags (.+)$", printed, re.MULTILINE)
    [line] = found
    return line


def typed(line: str) -> str:
    """Returns what a terminal shows after a line such as "flags list | cut -f 1"."""
    command, _bar, rest = line.partition(" | ")
    arguments = shlex.split(command)[1:]
    if rest:
        data = flags(*arguments).out
        cut = subprocess.run(shlex.split(rest), input=data, stdout=-1, text=True, check=True)
        return cut.stdout
    screen = Terminal()
    _run(arguments, screen, screen)
    return screen.getvalue()


def _run(
    arguments: Sequence[str], out: StringIO, err: StringIO, *, is_process: bool = False
) -> int:
    with override("UTC"):
        try:
            # `call_command` builds the parsers of all verbs, for options that are keywords.
            command = Command()
            command._called_from_command_line = is_process  # type: ignore[attr-defined]
            options = vars(command.create_parser("", "flags").parse_args(list(arguments)))
            command.execute(*options.pop("args", ()), **options, stdout=out, stderr=err)
        except CommandError as error:
            err.write(f"CommandError: {error}\n")
            return error.returncode
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def open_shop() -> None:
    """Creates the flags and values of the documentation's examples: a flag in every state."""
    alice = User.objects.create(pk=1, username="alice")
    bob = User.objects.create(pk=2, username="bob")
    flags = [
        FeatureFlag(pk=1, key="beta_reviews", enabled=True, kind="permission", description=REVIEWS),
        FeatureFlag(pk=2, key="dark_mode", enabled=True, rollout_percent=100),
        FeatureFlag(pk=3, key="new_checkout", enabled=True, rollout_percent=25, description=PAGE),
        FeatureFlag(pk=4, key="search_v2", enabled=True, kind="ops"),
        FeatureFlag(pk=5, key="summer_banner", rollout_percent=100),
    ]
    FeatureFlag.objects.bulk_create(flags)
    FeatureFlag.objects.get(key="beta_reviews").allowed_users.add(alice, bob)
    FeatureFlag.objects.get(key="new_checkout").allowed_users.add(alice)
    FeatureFlag.objects.update(created_at=OPENED, changed_at=OPENED)
    # In one statement, because hundreds of tests open this shop.
    values = [
        KeyValueStore(
            pk=1, key="payment_gateway", value="stripe", description="Who takes the money"
        ),
        KeyValueStore(pk=2, key="page_size", value=20),
        KeyValueStore(pk=3, key="mail_password", value="hunter2", secret=True),
    ]
    KeyValueStore.objects.bulk_create(values)
    KeyValueStore.objects.update(changed_at=OPENED)
    Segment.objects.create(
        pk=1,
        key="enterprise",
        conditions=[{"attribute": "plan", "operator": "in", "values": ["enterprise"]}],
        description="Customers with a contract",
    )
    Segment.objects.update(created_at=OPENED, changed_at=OPENED)
    _reset_sequences()
    _create_usage()


def _reset_sequences() -> None:
    """Sets the sequences after the explicit primary keys."""
    models = [User, FeatureFlag, KeyValueStore, Segment]
    for statement in connection.ops.sequence_reset_sql(no_style(), models):
        sql.rows(statement)


def delete_usage() -> None:
    """Deletes all usage. The lock makes an engine of this process wait until after the test."""
    tables = ("flagstaff_usage", "flagstaff_report")
    sql.rows(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
    for table in tables:
        sql.rows(f"DELETE FROM {table}")


def _create_usage() -> None:
    """Creates usage, if the database has it and the test rolls it back."""
    if connection.vendor != "postgresql" or not connection.in_atomic_block:
        return
    delete_usage()
    for key, result, count in (
        ("dark_mode", "true", 48_210),
        ("new_checkout", "true", 301),
        ("new_checkout", "false", 934),
        ("new_chekout", "unknown", 17),
        ("", "report", 0),
    ):
        add_usage(key, result, count, OPENED)
