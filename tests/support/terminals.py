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
# In SQL, because hundreds of tests open this shop, and the ORM would write other times.
_SHOP = f"""
    INSERT INTO flagstaff_featureflag
        (id, key, enabled, rollout_percent, kind, description, created_at, changed_at)
    SELECT *, '{OPENED}'::timestamptz, '{OPENED}'::timestamptz FROM (VALUES
        (1, 'beta_reviews', true, 0, 'permission', 'Reviews before everybody sees them'),
        (2, 'dark_mode', true, 100, 'release', ''),
        (3, 'new_checkout', true, 25, 'release', 'One page instead of three'),
        (4, 'search_v2', true, 0, 'ops', ''),
        (5, 'summer_banner', false, 100, 'release', '')
    ) AS flags;
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    VALUES (1, 1), (1, 2), (3, 1);
    INSERT INTO flagstaff_keyvaluestore (id, key, value, description, secret, changed_at)
    SELECT *, '{OPENED}'::timestamptz FROM (VALUES
        (1, 'payment_gateway', '"stripe"'::jsonb, 'Who takes the money', false),
        (2, 'page_size', '20', '', false),
        (3, 'mail_password', '"hunter2"', '', true)
    ) AS key_values;
    INSERT INTO flagstaff_segment (id, key, conditions, description, created_at, changed_at)
    VALUES (
        1,
        'enterprise',
        '[{{"attribute": "plan", "operator": "in", "values": ["enterprise"]}}]',
        'Customers with a contract',
        '{OPENED}',
        '{OPENED}'
    )
"""


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
    """Returns the rows of the table that a command prints in a pipe."""
    return table_rows(flags(*arguments).out)


def table_rows(printed: str) -> list[list[str]]:
    """Returns the fields between tabs, by line, without the header."""
    return [line.split("\t") for line in printed.splitlines()[1:]]


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
    User.objects.bulk_create([User(pk=1, username="alice"), User(pk=2, username="bob")])
    sql.rows(_SHOP)
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
