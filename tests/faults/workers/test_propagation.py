"""`wait_for_workers` counts exactly the workers that have applied a change."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.proxy import Proxy
from tests.support.fixtures import Query
from tests.support.python_processes import STRICT, run_python
from tests.support.repeats import repeats
from tests.support.workers import Worker
from tools.limits import seconds
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres
from tools.token_triggers import always

# Ten processes take long to start and to stop.
pytestmark = pytest.mark.timeout(180)

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
WORKERS = 10
CHANGES = repeats(200, 60)

LIST = ["flags", "workers", "--json"]
# What keeps a worker from writing its heartbeat.
REFUSALS = {
    "no table": "ALTER TABLE flagstaff_report RENAME TO hidden",
    "locked": "LOCK TABLE flagstaff_report",
}

Record = Callable[[str, object], None]


def call(worker: Worker, name: str, *arguments: Any) -> Any:
    return worker.ask("call", f"tests.faults.propagation.{name}", *arguments)


@pytest.fixture
def workers(database: str, proxy: Proxy) -> Iterator[list[Worker]]:
    """Ten workers; the last connects through the proxy."""
    urls = [*[database] * (WORKERS - 1), proxy.url]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(url)) for url in urls]
        for worker in workers:
            worker.send("ready", 30)
        assert [worker.receive() for worker in workers] == [True] * WORKERS
        yield workers
        proxy.resume()


@pytest.fixture
def caller(database: str) -> Iterator[Worker]:
    """A process that waits for the workers, and evaluates nothing itself."""
    with Worker(database) as caller:
        yield caller


@contextmanager
def stopped(*workers: Worker) -> Iterator[None]:
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)


def pids(found: list[dict[str, Any]]) -> list[int]:
    return sorted(worker["pid"] for worker in found)


def counts(found: dict[str, Any]) -> tuple[int, int, int, int]:
    """The numbers of workers that applied it, are pending, are disconnected, and are missing."""
    return found["applied"], len(found["pending"]), len(found["disconnected"]), found["missing"]


def hidden_counts(found: dict[str, Any]) -> tuple[bool, bool, int]:
    """Whether it is complete, whether workers may be hidden, and how many applied it."""
    return found["complete"], found["possibly_hidden"], found["applied"]


@pytest.mark.smoke
def test_wait_lists_two_hung_workers_and_one_disconnected_of_ten(
    database: str, workers: list[Worker], proxy: Proxy, caller: Worker
) -> None:
    hung, cut_off = workers[:2], workers[-1]
    before = call(caller, "wait_for_workers", 10, WORKERS)
    assert (before["complete"], counts(before)) == (True, (10, 0, 0, 0))
    with stopped(*hung):
        proxy.stop()
        name = f"fs2 % {cut_off.pid} %"
        found = call(caller, "wait_while_terminating", database, name, seconds(2))
        assert (found["complete"], counts(found)) == (False, (7, 2, 1, 0))
        assert pids(found["pending"]) == sorted(worker.pid for worker in hung)
        assert pids(found["disconnected"]) == [cut_off.pid]
        assert 2 <= found["seconds"] < 2 * seconds(2)
        # This process has seen all ten before, and misses one.
        again = call(caller, "wait_for_workers", seconds(0.5))
        assert (again["complete"], counts(again)) == (False, (7, 2, 1, 0))
        # The command has seen no worker before; --expect gives their number.
        off = ["flags", "off", "new_checkout", "--wait", f"{seconds(1):.0f}", "--expect", "10"]
        ran = run_python(database, *STRICT, "-m", "django", *off, status=3)
        lines = ran.stderr.splitlines()
        sentence = r"Applied by 7 of 9 workers after \d+\.\d+ s; the wait ended after \d+\."
        assert re.match(sentence, lines[3])
        assert all(f"(pid {worker.pid})" in lines[4] for worker in hung)
        assert lines[5] == "Expected, but not connected: 1."
    proxy.resume()
    after = call(caller, "wait_for_workers", 30, WORKERS)
    assert (after["complete"], counts(after)) == (True, (10, 0, 0, 0))
    assert [worker.ask(*NEW_CHECKOUT, 1) for worker in workers] == [False] * WORKERS


def test_change_committed_after_a_later_token_is_not_counted_too_early(
    database: str, worker: Worker, caller: Worker, query: Query, record_property: Record
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0")
    wrong, took = 0, []
    with psycopg.connect(database) as early:
        for number in range(repeats(100, 30)):
            enabled = number % 2 == 0
            # This session gets its token first, and commits last.
            early.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [100 * enabled])
            query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", number)
            worker.sees(["get_value", "gateway"], number, within=2)
            with stopped(worker):
                early.commit()
                wrong += call(caller, "wait_for_workers", 0)["applied"]
            # The worker may have lost its connection while it was stopped, and then it reconnects.
            found = call(caller, "wait_for_workers", 30, 1)
            assert found["complete"], found
            wrong += worker.ask(*NEW_CHECKOUT) is not enabled
            took.append(found["seconds"])
    assert wrong == 0
    record_property("seconds", sorted(took))


def test_ten_workers_apply_each_change_soon_and_are_counted_while_they_reconnect(
    database: str, workers: list[Worker], caller: Worker, record_property: Record
) -> None:
    call(caller, "change_repeatedly", 10)
    made = call(caller, "change_repeatedly", CHANGES)
    took = sorted(one for one, _ in made)
    assert {applied for _, applied in made} == {WORKERS}
    record_property("seconds", took)
    assert took[CHANGES // 2] <= seconds(0.5)
    found = call(caller, "wait_while_terminating", database, "fs2 %", 30)
    assert (found["complete"], counts(found)) == (True, (10, 0, 0, 0))


def test_worker_killed_during_the_wait_is_listed(
    database: str, worker: Worker, caller: Worker
) -> None:
    victim = Worker(database)
    try:
        assert victim.ask("ready", 10) is True
        os.kill(victim.pid, signal.SIGSTOP)
        found = call(caller, "wait_while_killing", victim.pid, seconds(1))
        assert (found["complete"], counts(found)) == (False, (1, 0, 1, 0))
        assert pids(found["disconnected"]) == [victim.pid]
    finally:
        victim.end(signal.SIGKILL)


def test_worker_that_ends_is_not_expected_any_more(
    database: str, worker: Worker, caller: Worker
) -> None:
    other = Worker(database)
    try:
        assert other.ask("ready", 10) is True
        other.ask(*NEW_CHECKOUT)
        before = call(caller, "wait_for_workers", 10, 2)
        assert (before["complete"], counts(before)) == (True, (2, 0, 0, 0))
    finally:
        other.end()
    found = call(caller, "wait_for_workers", 5)
    assert (found["complete"], counts(found)) == (True, (1, 0, 0, 0))


def test_waiting_process_is_counted_as_a_worker(worker: Worker) -> None:
    for percent in (100, 0) * 10:
        found, enabled = call(worker, "change_and_wait", percent, 1)
        assert (found["complete"], found["applied"]) == (True, 1)
        assert enabled is (percent == 100)


def test_change_without_triggers_is_not_counted_before_it_is_loaded(
    database: str, worker: Worker, caller: Worker
) -> None:
    wrong = 0
    with psycopg.connect(database, autocommit=True) as session:
        for percent in (0, 100) * 5:
            session.execute("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER ALL")
            session.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [percent])
            session.execute(always("flagstaff_featureflag").encode())
            applied = call(caller, "wait_for_workers", 5)["applied"] == 1
            wrong += applied and worker.ask(*NEW_CHECKOUT) is not (percent == 100)
    assert wrong == 0


@pytest.mark.parametrize("parameters", [{}, {"application_name": "shop"}])
def test_wait_with_workers_behind_a_pooler_is_never_complete(
    server: Postgres, database: str, worker: Worker, caller: Worker, parameters: dict[str, str]
) -> None:
    with PgBouncer(server.port) as pooler:
        url = make_conninfo(database, port=pooler.port, **parameters)
        with Worker(url, POLL_INTERVAL=60) as pooled:
            assert pooled.ask("ready", 10) is True
            pooled.sees(["mode"], "poll", within=3)
            # The direct worker has applied it, and other workers behind the pooler may be hidden,
            # also from a process behind the pooler.
            for asked in (caller, pooled):
                found = call(asked, "wait_for_workers", 5)
                assert hidden_counts(found) == (False, True, 1)
                assert pids(found["polling"]) == [pooled.pid]


def test_workers_behind_a_pooler_are_named_and_counted_as_applied(
    database: str, pooler: PgBouncer, query: Query
) -> None:
    url = make_conninfo(database, port=pooler.port)
    with ExitStack() as stack:
        caller = stack.enter_context(Worker(database, POLL_INTERVAL=1))
        workers = [stack.enter_context(Worker(url, POLL_INTERVAL=1)) for _ in range(4)]
        for worker in workers:
            assert worker.ask("ready", 10) is True
        query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = 100")
        found = call(caller, "wait_for_workers", 10, 4)
        assert hidden_counts(found) == (False, True, 4)
        assert [worker.ask(*NEW_CHECKOUT) for worker in workers] == [True] * 4
        listed = json.loads(run_python(database, "-m", "django", *LIST).stdout)
        assert pids(listed) == sorted(worker.pid for worker in workers)
        assert {(worker["mode"], worker["session"]) for worker in listed} == {("poll", None)}
        # One that ends deletes its heartbeat.
        workers[0].end()
        assert query("SELECT count(*) FROM flagstaff_report WHERE report = 'refresh'") == (3,)
        assert {status["failures"] for status in (one.ask("status") for one in workers[1:])} == {0}


def refused_heartbeats(server: Postgres) -> int:
    """The number of heartbeats in the server's log of errors."""
    return server.log.read_text().count("$1, 'refresh', $2")


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_worker_that_cannot_write_a_heartbeat_polls_as_before(
    refusal: str, database: str, pooler: PgBouncer, query: Query, server: Postgres
) -> None:
    before = refused_heartbeats(server)
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(database, autocommit="LOCK" not in refusal))
        admin.execute(refusal)
        url = make_conninfo(database, port=pooler.port)
        worker = stack.enter_context(Worker(url, POLL_INTERVAL=0.2))
        assert worker.ask("ready", 10) is True
        for percent in (100, 0, 100):
            query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = %s", percent)
            worker.sees(NEW_CHECKOUT, percent == 100, within=3)
        status = worker.ask("status")
        assert (status["mode"], status["failures"], status["last_error"]) == ("poll", 0, None)
        # It has tried once.
        assert refused_heartbeats(server) == before + 1


def test_kill_behind_a_pooler_waits_until_all_workers_have_polled(
    database: str, pooler: PgBouncer, query: Query
) -> None:
    url = make_conninfo(database, port=pooler.port)
    with Worker(url, POLL_INTERVAL=1) as pooled, Worker(url, POLL_INTERVAL=1) as caller:
        assert pooled.ask("ready", 10) is True
        query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = 100")
        pooled.sees(NEW_CHECKOUT, True, within=3)
        text, status, took = call(caller, "kill", "new_checkout")
        assert pooled.ask(*NEW_CHECKOUT) is False
    assert (status, text.splitlines()[-2]) == (
        0,
        "Workers behind a pooler that cannot write to flagstaff_report are not listed.",
    )
    assert text.splitlines()[-3].startswith("Applied by 1 of 1 workers after ")
    promised = "All workers that reach the database have applied the change by "
    assert text.splitlines()[-1].startswith(promised)
    assert took >= 1.1 + 1.2
