"""`flags tick`: what it says, how it ends, and that it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings

from flagstaff.changes import set_rollout
from flagstaff.cli import tick as verb
from flagstaff.models import FeatureFlag
from flagstaff.webhooks import deliver
from tests.conftest import ROOT
from tests.postgres.conftest import Query
from tests.terminals import flags
from tests.webhooks import Webhook, make_due

pytestmark = pytest.mark.django_db(transaction=True)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
def ops(hook: Webhook) -> Iterator[Webhook]:
    """A receiver whose first tick was, and a flag."""
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    execute("TRUNCATE flagstaff_receiver, flagstaff_delivery")
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield hook
    execute("TRUNCATE flagstaff_receiver, flagstaff_delivery")


def test_tick_tells_a_line_for_each_receiver(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    ran = flags("tick")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"ops\t127.0.0.1:{ops.port}\t1\t0\t0\t0\t\n"


def test_failure_that_is_tried_again_is_told_and_is_no_error(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    ran = flags("tick")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"ops\t127.0.0.1:{ops.port}\t0\t1\t1\t0\tconnection refused\n"


def test_address_and_secret_are_not_told(ops: Webhook) -> None:
    ops.respond_with(500)
    set_rollout("new_checkout", 10)
    ran = flags("tick", "--json")
    for secret in ("hooks/T0", "token", "whsec_", "c2VjcmV0"):
        assert secret not in ran.out + ran.err


def test_messages_that_were_given_up_are_an_error_until_somebody_decides(ops: Webhook) -> None:
    ops.respond_with(410)
    set_rollout("new_checkout", 10)
    ran = flags("tick")
    assert (ran.status, ran.err) == (
        1,
        "CommandError: 1 message is given up; --retry-dead sends again, --forget-dead does not\n",
    )
    assert flags("tick").status == 1
    ops.respond_with(200)
    ran = flags("tick", "--retry-dead", "--json")
    assert (ran.status, ran.err) == (0, "1 message is to be sent again\n")
    [told] = json.loads(ran.out)
    assert (told["delivered"], told["dead"], told["error"]) == (1, 0, None)


def test_messages_that_were_given_up_can_be_forgotten(ops: Webhook) -> None:
    ops.respond_with(410)
    set_rollout("new_checkout", 10)
    assert flags("tick").status == 1
    ran = flags("tick", "--forget-dead")
    assert (ran.status, ran.err) == (0, "1 message is forgotten\n")
    assert len(ops.received) == 1


def test_what_the_history_has_lost_is_said(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    flags("tick")
    execute("DELETE FROM flagstaff_change")
    make_due()
    assert flags("tick").err == "ops: 1 message is not told, for the history was pruned\n"


def test_receiver_that_left_the_settings_is_named(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    flags("tick")
    with override_settings(FLAGSTAFF={}):
        ran = flags("tick")
    assert "ops is not in WEBHOOKS any more, and is told nothing" in ran.err


@pytest.mark.parametrize("typed", ["0", "-1", "soon", "nan"])
def test_loop_refuses_what_are_no_seconds(typed: str) -> None:
    assert flags("tick", "--loop", typed).status != 0


def test_tables_that_are_missing_are_told_with_what_makes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute("ALTER TABLE flagstaff_delivery RENAME TO elsewhere")
    try:
        ran = flags("tick")
    finally:
        execute("ALTER TABLE elsewhere RENAME TO flagstaff_delivery")
    assert ran.status == 1
    assert '"manage.py migrate" makes its tables' in ran.err


def test_role_without_rights_is_told_so(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    execute("SET ROLE pg_read_all_stats")
    try:
        ran = flags("tick")
    finally:
        execute("RESET ROLE")
    assert ran.status == 4
    assert "permission denied for table flagstaff_receiver" in ran.err


def test_loop_survives_an_outage_and_tells_lines(
    ops: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter([OperationalError("hunter2"), None, None])

    def one_round(*, stop: Any) -> Any:
        try:
            failure = next(rounds)
        except StopIteration:
            stop.set()
            return []
        if failure:
            raise failure
        set_rollout("new_checkout", 10)
        return deliver()

    monkeypatch.setattr(verb, "tick", one_round)
    ran = flags("tick", "--loop", "0.001", "--json")
    assert (ran.status, ran.err) == (
        0,
        "telling the receivers; Ctrl-C ends it\nthe database does not do it: OperationalError\n",
    )
    # Nothing is said of a tick in which nothing happened.
    [line] = ran.out.splitlines()
    assert json.loads(line)["delivered"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_ends_in_order_when_it_is_told_to(
    database: str, query: Query, hook: Webhook, number: signal.Signals
) -> None:
    settings = {"WEBHOOKS": {"ops": hook.settings()}}
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.manage_with"]
    process = subprocess.Popen(
        [*command, "flags", "tick", "--loop", "0.05"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "FLAGSTAFF": json.dumps(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert process.stderr.readline() == "telling the receivers; Ctrl-C ends it\n"
        while not query("SELECT name FROM flagstaff_receiver"):
            pass
        query("UPDATE flagstaff_featureflag SET enabled = false")
        assert hook.requested.wait(20)
        assert process.stdout
        assert process.stdout.readline() == "ops\tdelivered 1\tfailed 0\twaiting 0\tdead 0\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.communicate()
