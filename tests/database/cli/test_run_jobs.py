"""`manage.py flags run-jobs`: output, exit status and loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from flagstaff.changes import set_rollout
from flagstaff.cli.verbs import jobs
from flagstaff.contrib.webhooks import DeliveryReport, deliver
from flagstaff.models import FeatureFlag
from tests.support.sql import rows
from tests.support.terminals import flags, typed
from tests.support.webhooks import Webhook, make_due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ops() -> Iterator[Webhook]:
    """A receiver after its first run, and a flag."""
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    rows("TRUNCATE flagstaff_receiver, flagstaff_delivery")
    with Webhook() as hook, override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield hook
    rows("TRUNCATE flagstaff_receiver, flagstaff_delivery")


@pytest.mark.parametrize(
    ("option", "done", "messages"),
    [
        ("--retry-failed", "queued again: 1 delivery\n", 2),
        ("--discard-failed", "discarded: 1 delivery\n", 1),
    ],
)
def test_failed_deliveries_are_an_error_until_they_are_retried_or_discarded(
    option: str, done: str, messages: int, ops: Webhook
) -> None:
    ops.respond_with(410)
    set_rollout("new_checkout", 10)
    ran = flags("run-jobs")
    message = "CommandError: 1 delivery failed: pass --retry-failed or --discard-failed\n"
    assert (ran.status, ran.err) == (1, message)
    assert flags("run-jobs").status == 1
    ops.respond_with(200)
    ran = flags("run-jobs", option, "--json")
    assert (ran.status, ran.err, len(ops.received)) == (0, done, messages)
    [report] = json.loads(ran.out)["deliveries"]
    assert (report["delivered"], report["failed"], report["error"]) == (messages - 1, 0, None)


def test_run_jobs_prints_a_line_per_receiver_and_no_address(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    assert flags("run-jobs") == (0, f"ops\t127.0.0.1:{ops.port}\t1\t0\t0\t0\t\n", "")
    ops.respond_with(500)
    set_rollout("new_checkout", 20)
    ran = flags("run-jobs", "--json")
    for secret in ("hooks/T0", "token", "whsec_", "c2VjcmV0"):
        assert secret not in ran.out + ran.err


def test_failed_attempt_is_printed_and_is_no_error(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    shown = f"ops\t127.0.0.1:{ops.port}\t0\t1\t1\t0\tconnection refused\n"
    assert flags("run-jobs") == (0, shown, "")


def test_delivery_that_cannot_be_sent_any_more_is_named(ops: Webhook) -> None:
    ops.stop()
    set_rollout("new_checkout", 10)
    flags("run-jobs")
    with override_settings(FLAGSTAFF={}):
        err = flags("run-jobs").err
        rows("UPDATE flagstaff_receiver SET read_at = now() - interval '73 hours'")
        assert flags("run-jobs").err.startswith(
            "ops: 1 delivery expired, because it left WEBHOOKS three days ago\n"
        )
    assert (
        "ops is no longer in WEBHOOKS, so its deliveries are not sent and expire after three "
        "days; to send them, add the receiver again"
    ) in err
    flags("run-jobs")
    set_rollout("new_checkout", 20)
    flags("run-jobs")
    rows("DELETE FROM flagstaff_change")
    make_due()
    assert flags("run-jobs").err == "ops: 1 delivery expired, because the history was pruned\n"


def test_loop_pauses_five_seconds_by_default(ops: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(jobs, "_loop", lambda pause, _out: pauses.append(pause))
    assert flags("run-jobs", "--loop").status == 0
    assert flags("run-jobs", "--loop", "0.5").status == 0
    for text in ("0", "-1", "soon", "nan"):
        assert flags("run-jobs", "--loop", text).status != 0
    assert pauses == [5.0, 0.5]


def test_missing_tables_are_an_error_that_names_migrate() -> None:
    rows("ALTER TABLE flagstaff_delivery RENAME TO elsewhere")
    try:
        ran = flags("run-jobs")
    finally:
        rows("ALTER TABLE elsewhere RENAME TO flagstaff_delivery")
    assert ran.status == 1
    assert 'use PostgreSQL and run "manage.py migrate"' in ran.err


def test_role_without_privileges_is_refused(ops: Webhook) -> None:
    set_rollout("new_checkout", 10)
    rows("SET ROLE pg_read_all_stats")
    try:
        ran = flags("run-jobs")
    finally:
        rows("RESET ROLE")
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
    shown = "running jobs\ndatabase error, will try again: OperationalError\n"
    assert (ran.status, ran.err) == (0, shown)
    # A run without deliveries prints nothing.
    [line] = ran.out.splitlines()
    assert json.loads(line)["delivered"] == 1


def test_loop_names_the_key_that_stops_it_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(*, stop: Event) -> list[DeliveryReport]:
        stop.set()
        return []

    monkeypatch.setattr(jobs, "deliver", deliver)
    assert typed("flags run-jobs --loop") == "running jobs; press Ctrl-C to stop\n"
