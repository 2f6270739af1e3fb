"""`manage.py flags run-jobs`: output, exit status and loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings

from flagstaff.changes import set_rollout
from flagstaff.cli.verbs import jobs
from flagstaff.models import FeatureFlag
from flagstaff.webhooks import DeliveryReport, deliver
from tests.conftest import ROOT
from tests.support.fixtures import Query
from tests.support.terminals import flags, typed
from tests.support.webhooks import Webhook, make_due

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
    """A receiver after its first run, and a flag."""
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    execute("TRUNCATE flagstaff_receiver, flagstaff_delivery")
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield hook
    execute("TRUNCATE flagstaff_receiver, flagstaff_delivery")


def test_run_jobs_prints_a_line_per_receiver(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    ran = flags("run-jobs")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"ops\t127.0.0.1:{ops.port}\t1\t0\t0\t0\t\n"


def test_failed_attempt_is_printed_and_is_no_error(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    ran = flags("run-jobs")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"ops\t127.0.0.1:{ops.port}\t0\t1\t1\t0\tconnection refused\n"


def test_address_and_secret_are_not_printed(ops: Webhook) -> None:
    ops.respond_with(500)
    set_rollout("new_checkout", 10)
    ran = flags("run-jobs", "--json")
    for secret in ("hooks/T0", "token", "whsec_", "c2VjcmV0"):
        assert secret not in ran.out + ran.err


def test_failed_deliveries_are_an_error_until_they_are_retried(ops: Webhook) -> None:
    ops.respond_with(410)
    set_rollout("new_checkout", 10)
    ran = flags("run-jobs")
    assert (ran.status, ran.err) == (
        1,
        "CommandError: 1 delivery failed: pass --retry-failed or --discard-failed\n",
    )
    assert flags("run-jobs").status == 1
    ops.respond_with(200)
    ran = flags("run-jobs", "--retry-failed", "--json")
    assert (ran.status, ran.err) == (0, "queued again: 1 delivery\n")
    [report] = json.loads(ran.out)["deliveries"]
    assert (report["delivered"], report["failed"], report["error"]) == (1, 0, None)


def test_failed_deliveries_can_be_discarded(ops: Webhook) -> None:
    ops.respond_with(410)
    set_rollout("new_checkout", 10)
    assert flags("run-jobs").status == 1
    ran = flags("run-jobs", "--discard-failed")
    assert (ran.status, ran.err) == (0, "discarded: 1 delivery\n")
    assert len(ops.received) == 1


def test_delivery_whose_entries_were_pruned_is_dropped(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    flags("run-jobs")
    execute("DELETE FROM flagstaff_change")
    make_due()
    assert flags("run-jobs").err == "ops: 1 delivery expired, because the history was pruned\n"


def test_receiver_that_is_no_longer_in_the_settings_is_named(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    flags("run-jobs")
    with override_settings(FLAGSTAFF={}):
        ran = flags("run-jobs")
    assert (
        "ops is no longer in WEBHOOKS, so its deliveries are not sent; "
        "to send them, add the receiver again" in ran.err
    )


def test_loop_pauses_five_seconds_by_default(ops: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(jobs, "_loop", lambda pause, _out: pauses.append(pause))
    assert flags("run-jobs", "--loop").status == 0
    assert flags("run-jobs", "--loop", "0.5").status == 0
    assert pauses == [5.0, 0.5]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_loop_refuses_invalid_seconds(text: str) -> None:
    assert flags("run-jobs", "--loop", text).status != 0


def test_missing_tables_are_an_error_that_names_migrate() -> None:
    execute("ALTER TABLE flagstaff_delivery RENAME TO elsewhere")
    try:
        ran = flags("run-jobs")
    finally:
        execute("ALTER TABLE elsewhere RENAME TO flagstaff_delivery")
    assert ran.status == 1
    assert 'use PostgreSQL and run "manage.py migrate"' in ran.err


def test_role_without_privileges_is_refused(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    execute("SET ROLE pg_read_all_stats")
    try:
        ran = flags("run-jobs")
    finally:
        execute("RESET ROLE")
    assert ran.status == 4
    assert "permission denied for table flagstaff_receiver" in ran.err


def test_loop_survives_a_database_error_and_prints_lines(
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

    monkeypatch.setattr(jobs, "deliver", one_round)
    ran = flags("run-jobs", "--loop", "0.001", "--json")
    assert (ran.status, ran.err) == (
        0,
        "running jobs\ndatabase error, will try again: OperationalError\n",
    )
    # A run without deliveries prints nothing.
    [line] = ran.out.splitlines()
    assert json.loads(line)["delivered"] == 1


def test_loop_names_the_key_that_stops_it_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(*, stop: Event) -> list[DeliveryReport]:
        stop.set()
        return []

    monkeypatch.setattr(jobs, "deliver", deliver)
    assert typed("flags run-jobs --loop") == "running jobs; press Ctrl-C to stop\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_stops_cleanly_on_a_signal(
    database: str, query: Query, hook: Webhook, number: signal.Signals
) -> None:
    settings = {"WEBHOOKS": {"ops": hook.settings()}}
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.support.manage_with"]
    process = subprocess.Popen(
        [*command, "flags", "run-jobs", "--loop", "0.05"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "FLAGSTAFF": json.dumps(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert process.stderr.readline() == "running jobs\n"
        while not query("SELECT name FROM flagstaff_receiver"):
            pass
        query("UPDATE flagstaff_featureflag SET enabled = false")
        assert hook.requested.wait(20)
        assert process.stdout
        assert (
            process.stdout.readline()
            == "ops\tdelivered 1\tfailed_attempts 0\tpending 0\tfailed 0\n"
        )
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.communicate()
