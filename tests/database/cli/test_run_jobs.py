"""`manage.py flags run-jobs`: output, exit status, loop, and what is deleted by age."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import _jobs, changes
from flagstaff._text.times import full_time
from flagstaff.contrib.webhooks import deliver, delivering
from flagstaff.contrib.webhooks.delivering import DeliveryReport
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.retention import prune_in_batches
from flagstaff.models import Change, JobsRun
from tests.support.reports import register_worker
from tests.support.shop import Shop
from tests.support.sql import keep_indexes, rows, without_table
from tests.support.stale_flags import age_history, evaluate, make_flag
from tests.support.terminals import document, flags, run, typed
from tests.support.usage_rows import delete_usage
from tests.support.webhooks import Webhook

# The header of the table.
DELIVERIES = "receiver\thost\tdelivered\tfailed_attempts\texpired\tpending\tfailed\tlast_error\n"
# Deliveries and a loop need commits.
COMMITTED = pytest.mark.django_db(transaction=True)
RETRY = 'run "manage.py flags webhooks retry" or "webhooks discard"'
Rounds = Callable[..., None]


@pytest.fixture
def ops(shop: Shop) -> Iterator[Webhook]:
    """A receiver after its first run, and a change of a flag."""
    shop.flag()
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
    with Webhook() as hook, override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        changes.flags.set_rollout("new_checkout", 10)
        yield hook
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Replaces the deliveries by functions, one a round. The last one stops the loop."""

    def replace(*functions: Callable[[], Any]) -> None:
        left = [*functions]

        def deliver_next(*, stop: Event) -> Any:
            function = left.pop(0)
            if not left:
                stop.set()
            return function()

        monkeypatch.setattr(delivering, "deliver", deliver_next)

    return replace


def fail() -> None:
    raise OperationalError("hunter2")


@COMMITTED
@pytest.mark.parametrize(
    ("verb", "done", "messages"),
    [("retry", "deliveries queued again: 1\n", 2), ("discard", "deliveries discarded: 1\n", 1)],
)
def test_failed_deliveries_are_an_error_until_they_are_retried_or_discarded(
    verb: str, done: str, messages: int, ops: Webhook
) -> None:
    ops.respond_with(410)
    message = f"CommandError: deliveries: 1 of 1 had an error; {RETRY}\n"
    for _ in range(2):
        ran = flags("run-jobs")
        assert (ran.status, ran.err) == (1, message)
    ops.respond_with(200)
    assert flags("webhooks", verb) == (0, "", done)
    printed = document("run-jobs")
    # A receiver may be slow, so it comes after the other jobs.
    assert [*printed][-1] == "deliveries"
    [report] = printed["deliveries"]
    assert (report["delivered"], report["failed"], report["error"]) == (messages - 1, 0, None)
    assert len(ops.received) == messages


@COMMITTED
def test_deliveries_have_a_line_per_receiver_and_no_address(ops: Webhook) -> None:
    shown = f"{DELIVERIES}ops\t127.0.0.1:{ops.port}\t"
    assert flags("run-jobs") == (0, f"{shown}1\t0\t0\t0\t0\t\n", "")
    ops.respond_with(500)
    changes.flags.set_rollout("new_checkout", 20)
    ran = flags("run-jobs", "--json")
    for secret in ("hooks/T0", "token", "whsec_", "c2VjcmV0"):
        assert secret not in ran.out + ran.err


@COMMITTED
def test_failed_attempt_is_printed_and_is_no_error_also_of_a_removed_receiver(ops: Webhook) -> None:
    ops.stop()
    shown = f"{DELIVERIES}ops\t127.0.0.1:{ops.port}\t0\t1\t0\t1\t0\tConnection refused\n"
    assert flags("run-jobs") == (0, shown, "")
    with override_settings(FLAGSTAFF={}):
        shown = "ops\t\t0\t0\t0\t1\t0\tConnection refused\n"
        assert flags("run-jobs").out == f"{DELIVERIES}{shown}"


@COMMITTED
def test_expired_delivery_has_an_exit_status_of_its_own_and_ends_no_loop(rounds: Rounds) -> None:
    def expire() -> list[DeliveryReport]:
        return [DeliveryReport("ops", "ops.example", expired=1)]

    rounds(expire)
    message = "CommandError: deliveries: 1 of 1 expired or failed; the output says which\n"
    ran = flags("run-jobs")
    assert (ran.status, ran.err) == (8, message)
    rounds(expire, expire)
    ran = flags("run-jobs", "--loop", "0.001")
    assert (ran.status, len(ran.out.splitlines())) == (0, 2)


@COMMITTED
@pytest.mark.parametrize("loop", [(), ("--loop", "0.001")])
def test_run_counts_only_without_an_error_of_a_job(loop: tuple[str, ...], rounds: Rounds) -> None:
    seen: list[int] = []

    def count() -> list[object]:
        seen.append(JobsRun.objects.count())
        return []

    def count_and_fail() -> None:
        count()
        fail()

    JobsRun.objects.all().delete()
    rounds(count_and_fail, count)
    while len(seen) < 2:
        flags("run-jobs", *loop)
    assert (seen, JobsRun.objects.count()) == ([0, 0], 1)


@COMMITTED
def test_heartbeat_without_its_table_leaves_the_jobs_and_is_an_error(ops: Webhook) -> None:
    with without_table("flagstaff_jobsrun"):
        ran = flags("run-jobs")
    assert (ran.status, 'run "manage.py migrate"' in ran.err) == (1, True)
    assert len(ops.received) == 1


@COMMITTED
def test_role_without_privileges_is_refused(ops: Webhook) -> None:
    rows("SET ROLE pg_read_all_stats")
    try:
        ran = flags("run-jobs")
    finally:
        rows("RESET ROLE")
    assert (ran.status, "permission denied for table" in ran.err) == (4, True)


@COMMITTED
def test_loop_survives_a_database_error_and_prints_lines(ops: Webhook, rounds: Rounds) -> None:
    rounds(fail, deliver)
    ran = flags("run-jobs", "--loop", "0.001", "--json")
    shown = "running jobs\ndeliveries: database error, will try again: OperationalError\n"
    assert (ran.status, ran.err) == (0, shown)
    # A round without deliveries prints nothing.
    [line] = ran.out.splitlines()
    assert json.loads(line)["delivered"] == 1


@COMMITTED
def test_loop_that_an_error_ends_prints_what_the_other_jobs_did(
    ops: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Mock(side_effect=FlagstaffError("the plans cannot be read"))
    monkeypatch.setattr("flagstaff.rollouts.hooks.run_plans", broken)
    ran = flags("run-jobs", "--loop", "0.001")
    assert (ran.status, ran.err) == (1, "running jobs\nCommandError: the plans cannot be read\n")
    assert "\tdelivered 1\t" in ran.out


@COMMITTED
def test_loop_names_the_key_that_stops_it_on_a_terminal_and_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def wait(timeout: float) -> bool:
        pauses.append(timeout)
        return True

    def deliver_and_stop(*, stop: Event) -> list[object]:
        monkeypatch.setattr(stop, "wait", wait)
        stop.set()
        return []

    monkeypatch.setattr(delivering, "deliver", deliver_and_stop)
    assert typed("flags run-jobs --loop") == "running jobs; press Ctrl-C to stop\n"
    assert run("run-jobs --loop 0.5").err == "running jobs\n"
    by_default, short = pauses
    assert by_default >= 1 > short > 0.4


@pytest.fixture
def keep(db: None, settings: Any) -> Callable[..., None]:
    """Empties the tables. Returns a function that sets how many days are kept."""
    Change.objects.all().delete()
    delete_usage()

    def set_days(**days: int) -> None:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, **days}

    return set_days


def old_changes(count: int) -> None:
    """A flag whose history has so many old entries besides those of its creation."""
    make_flag()
    for number in range(count):
        changes.flags.update("new_checkout", {"description": str(number)})
    age_history(100)


def test_history_days_delete_old_entries(keep: Callable[..., None]) -> None:
    old_changes(3)
    count = Change.objects.count()
    assert "retention" not in document("run-jobs")
    assert Change.objects.count() == count
    keep(HISTORY_DAYS=90)
    # The newest entry of the flag stays.
    report = {"rows": "history", "deleted": count - 1, "error": None}
    assert document("run-jobs")["retention"] == [report]
    assert document("run-jobs")["retention"] == [{**report, "deleted": 0}]


def test_entry_with_a_late_time_that_stops_retention_is_named(keep: Callable[..., None]) -> None:
    old_changes(3)
    keep(HISTORY_DAYS=90)
    _first, second, *_others = Change.objects.order_by("id")
    # Transactions that overlap do as much.
    Change.objects.filter(pk=second.pk).update(at=timezone.now() - timedelta(days=89.5))
    Change.objects.filter(pk__gt=second.pk).update(at=timezone.now() - timedelta(days=90.5))
    assert document("run-jobs")["retention"] == [{"rows": "history", "deleted": 1, "error": None}]
    at = timezone.now()
    Change.objects.filter(pk=second.pk).update(at=at)
    Change.objects.filter(pk__gt=second.pk).update(at=timezone.now() - timedelta(days=100))
    count = Change.objects.count()
    ran = flags("run-jobs", "--json")
    [report] = json.loads(ran.out)["retention"]
    assert (ran.status, report["deleted"], Change.objects.count()) == (1, 0, count)
    # The time zone of the terminal.
    with timezone.override("UTC"):
        time = full_time(at)
    assert report["error"] == (
        f"stopped at entry {second.pk}, whose time is {time}: older entries after it stay until "
        "it is as old; if its time is wrong, correct it in flagstaff_change"
    )


def test_usage_days_delete_old_hours(keep: Callable[..., None]) -> None:
    for days in (10, 80, 100, 200):
        evaluate("new_checkout", days)
    keep(USAGE_DAYS=90)
    assert flags("run-jobs").out == "rows\tdeleted\terror\nusage\t2\t\n"
    assert rows("SELECT count(*) FROM flagstaff_usage") == [(2,)]


def test_workers_that_ended_yesterday_are_deleted_without_a_setting(
    keep: Callable[..., None],
) -> None:
    for report in ("usage", "measurements", "exposures"):
        register_worker(report, seconds_ago=90_000, stopped=True)
    assert flags("run-jobs").out == "rows\tdeleted\terror\nworkers\t3\t\n"
    assert "retention" not in document("run-jobs")


@COMMITTED
def test_deletion_stops_after_a_second_or_a_signal_and_the_next_round_goes_on(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "HISTORY_DAYS": 90}
    starts: list[object] = []
    stops: list[Event] = []

    def batches(*arguments: object) -> Iterator[int]:
        starts.append(arguments)
        yield 1
        Event().wait(1)
        yield 2
        signal.raise_signal(signal.SIGTERM)
        stops[0].wait()
        yield 4
        raise AssertionError("no batch is deleted after the signal")

    def deliver_nothing(*, stop: Event) -> list[object]:
        stops.append(stop)
        return []

    monkeypatch.setattr(_jobs, "prune_in_batches", batches)
    monkeypatch.setattr(delivering, "deliver", deliver_nothing)
    ran = flags("run-jobs", "--loop", "0.001")
    assert ran.out.splitlines() == ["rows history\tdeleted 3", "rows history\tdeleted 4"]
    assert len(starts) == 1


def test_error_of_one_kind_leaves_the_others(
    keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Mock(side_effect=DatabaseError("private@person.example"))
    monkeypatch.setattr(_jobs, "prune_in_batches", broken)
    evaluate("new_checkout", 100)
    keep(HISTORY_DAYS=90, USAGE_DAYS=90)
    ran = flags("run-jobs", "--json")
    assert ran.status == 1
    history, of_usage = json.loads(ran.out)["retention"]
    assert (history["error"], of_usage["deleted"]) == ("DatabaseError", 1)
    assert "private" not in ran.out + ran.err


def test_batches_find_their_entries_by_an_index(keep: Callable[..., None]) -> None:
    # The planner looks at the size of the file, which has the dead rows of other tests.
    rows("TRUNCATE flagstaff_change")
    old_changes(3)
    with CaptureQueriesContext(connection) as queries:
        list(prune_in_batches(timezone.now() - timedelta(days=90)))
    [batch] = [query["sql"] for query in queries if "DELETE FROM" in query["sql"]]
    keep_indexes("flagstaff_change", "flagstaff_change_pkey", "flagstaff_change_object")
    plan = "\n".join(line for (line,) in rows("EXPLAIN " + batch))
    assert "flagstaff_change_pkey" in plan
    assert "flagstaff_change_object" in plan
    assert "Seq Scan on flagstaff_change" not in plan
