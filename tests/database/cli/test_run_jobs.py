"""`manage.py flags run-jobs`: output, exit status and loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from flagstaff import changes
from flagstaff.cli.verbs import jobs
from flagstaff.contrib.webhooks import DeliveryReport, deliver, delivering
from flagstaff.models import FeatureFlag
from tests.support.sql import rows
from tests.support.terminals import document, flags, typed
from tests.support.webhooks import Webhook

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ops() -> Iterator[Webhook]:
    """A receiver after its first run, and a flag."""
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
    with Webhook() as hook, override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield hook
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")


@pytest.mark.parametrize(
    ("verb", "done", "messages"),
    [
        ("retry", "deliveries queued again: 1\n", 2),
        ("discard", "deliveries discarded: 1\n", 1),
    ],
)
def test_failed_deliveries_are_an_error_until_they_are_retried_or_discarded(
    verb: str, done: str, messages: int, ops: Webhook
) -> None:
    ops.respond_with(410)
    changes.flags.set_rollout("new_checkout", 10)
    ran = flags("run-jobs")
    message = (
        "CommandError: deliveries: 1 of 1 had an error; "
        'run "manage.py flags webhooks retry" or "webhooks discard"\n'
    )
    assert (ran.status, ran.err) == (1, message)
    assert flags("run-jobs").status == 1
    ops.respond_with(200)
    assert flags("webhooks", verb) == (0, "", done)
    [report] = document("run-jobs")["deliveries"]
    assert (report["delivered"], report["failed"], report["error"]) == (messages - 1, 0, None)
    assert len(ops.received) == messages


def test_run_jobs_prints_a_line_per_receiver_and_no_address(ops: Webhook) -> None:
    changes.flags.set_rollout("new_checkout", 10)
    assert flags("run-jobs") == (0, f"ops\t127.0.0.1:{ops.port}\t1\t0\t0\t0\t0\t\n", "")
    ops.respond_with(500)
    changes.flags.set_rollout("new_checkout", 20)
    ran = flags("run-jobs", "--json")
    for secret in ("hooks/T0", "token", "whsec_", "c2VjcmV0"):
        assert secret not in ran.out + ran.err


def test_failed_attempt_is_printed_and_is_no_error(ops: Webhook) -> None:
    ops.stop()
    changes.flags.set_rollout("new_checkout", 10)
    shown = f"ops\t127.0.0.1:{ops.port}\t0\t1\t0\t1\t0\tConnection refused\n"
    assert flags("run-jobs") == (0, shown, "")


def test_deliveries_of_a_removed_receiver_are_listed_without_a_host(ops: Webhook) -> None:
    ops.stop()
    changes.flags.set_rollout("new_checkout", 10)
    flags("run-jobs")
    with override_settings(FLAGSTAFF={}):
        assert flags("run-jobs").out == "ops\t\t0\t0\t0\t1\t0\tConnection refused\n"


def test_deliveries_are_the_last_job_because_a_receiver_may_be_slow(ops: Webhook) -> None:
    assert [*document("run-jobs")][-1] == "deliveries"


def test_loop_pauses_five_seconds_by_default(ops: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(jobs, "_loop", lambda pause, _out: pauses.append(pause))
    assert flags("run-jobs", "--loop").status == 0
    assert flags("run-jobs", "--loop", "0.5").status == 0
    for text in ("0", "-1", "soon", "nan"):
        assert flags("run-jobs", "--loop", text).status != 0
    assert pauses == [5.0, 0.5]


def test_missing_tables_are_an_error_that_names_migrate() -> None:
    rows("ALTER TABLE flagstaff_webhooks_delivery RENAME TO elsewhere")
    try:
        ran = flags("run-jobs")
    finally:
        rows("ALTER TABLE elsewhere RENAME TO flagstaff_webhooks_delivery")
    assert ran.status == 1
    assert 'run "manage.py migrate"' in ran.err


def test_role_without_privileges_is_refused(ops: Webhook) -> None:
    changes.flags.set_rollout("new_checkout", 10)
    rows("SET ROLE pg_read_all_stats")
    try:
        ran = flags("run-jobs")
    finally:
        rows("RESET ROLE")
    assert ran.status == 4
    assert "permission denied for table" in ran.err


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
        changes.flags.set_rollout("new_checkout", 10)
        return deliver()

    monkeypatch.setattr(delivering, "deliver", one_round)
    ran = flags("run-jobs", "--loop", "0.001", "--json")
    shown = "running jobs\ndeliveries: database error, will try again: OperationalError\n"
    assert (ran.status, ran.err) == (0, shown)
    # A run without deliveries prints nothing.
    [line] = ran.out.splitlines()
    assert json.loads(line)["delivered"] == 1


def test_loop_names_the_key_that_stops_it_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(*, stop: Event) -> list[DeliveryReport]:
        stop.set()
        return []

    monkeypatch.setattr(delivering, "deliver", deliver)
    assert typed("flags run-jobs --loop") == "running jobs; press Ctrl-C to stop\n"
