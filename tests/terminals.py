"""`manage.py flags` as a person types it, and a shop that it is typed in."""

from __future__ import annotations

import shlex
import subprocess
from datetime import datetime, timezone
from io import StringIO
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.management.color import no_style
from django.db import connection
from django.utils.timezone import override

from flagstaff.models import FeatureFlag, KeyValueStore

__all__ = ["OPENED", "Ran", "flags", "open_shop", "typed", "unasked"]

OPENED = datetime(2026, 11, 20, 8, 17, tzinfo=timezone.utc)


class Ran(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


class Terminal(StringIO):
    """Takes the command in as a person would."""

    def isatty(self) -> bool:
        return True


def flags(*arguments: str) -> Ran:
    """Run the command in this process, as in a pipe."""
    out, err = StringIO(), StringIO()
    return Ran(_run(arguments, out, err), out.getvalue(), err.getvalue())


def typed(line: str) -> str:
    """What a terminal shows when a line such as "flags list | cut -f 1" has run."""
    command, _bar, rest = line.partition(" | ")
    arguments = shlex.split(command)[1:]
    if rest:
        data = flags(*arguments).out
        cut = subprocess.run(shlex.split(rest), input=data, stdout=-1, text=True, check=True)
        return cut.stdout
    screen = Terminal()
    _run(arguments, screen, screen)
    return screen.getvalue()


def _run(arguments: Any, out: StringIO, err: StringIO) -> int:
    with override("UTC"):
        try:
            call_command("flags", *arguments, stdout=out, stderr=err)
        except CommandError as error:
            err.write(f"CommandError: {error}\n")
            return error.returncode
    return 0


def open_shop() -> None:
    """The flags and values of the documentation's examples: a flag in every state."""
    alice = User.objects.create(pk=1, username="alice")
    bob = User.objects.create(pk=2, username="bob")
    FeatureFlag.objects.bulk_create(
        [
            FeatureFlag(
                pk=1,
                key="beta_reviews",
                enabled=True,
                kind="permission",
                description="Reviews before everybody sees them",
            ),
            FeatureFlag(pk=2, key="dark_mode", enabled=True, rollout_percent=100),
            FeatureFlag(
                pk=3,
                key="new_checkout",
                enabled=True,
                rollout_percent=25,
                description="One page instead of three",
            ),
            FeatureFlag(pk=4, key="search_v2", enabled=True, kind="ops"),
            FeatureFlag(pk=5, key="summer_banner", rollout_percent=100),
        ]
    )
    FeatureFlag.objects.get(key="beta_reviews").allowed_users.add(alice, bob)
    FeatureFlag.objects.get(key="new_checkout").allowed_users.add(alice)
    FeatureFlag.objects.update(created_at=OPENED, changed_at=OPENED)
    KeyValueStore.objects.create(
        key="payment_gateway", value="stripe", description="Who takes the money"
    )
    KeyValueStore.objects.create(key="page_size", value=20)
    KeyValueStore.objects.create(key="mail_password", value="hunter2", secret=True)
    KeyValueStore.objects.update(changed_at=OPENED)
    _go_on_counting()
    _be_asked()


def _go_on_counting() -> None:
    """After primary keys that were chosen, those of the database go on behind them."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [User, FeatureFlag]):
            cursor.execute(statement)


def unasked() -> None:
    """As if no worker had been asked anything. An engine of this process writes after the test."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE flagstaff_usage, flagstaff_usage_worker IN EXCLUSIVE MODE")
        cursor.execute("DELETE FROM flagstaff_usage; DELETE FROM flagstaff_usage_worker")


def _be_asked() -> None:
    """What its workers have written down, where that is kept, and the test takes it back."""
    if connection.vendor != "postgresql" or not connection.in_atomic_block:
        return
    unasked()
    hour = OPENED.replace(minute=0)
    asked = [
        ("dark_mode", True, 48_210, 0),
        ("new_checkout", True, 301, 934),
        ("new_chekout", False, 0, 17),
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO flagstaff_usage (hour, key, defined, yes, no, last_evaluated_at) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [[hour, *row, OPENED] for row in asked],
        )
