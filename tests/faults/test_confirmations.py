"""A change is confirmed by all who have it, and by nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.proxy import Proxy
from tests.postgres.conftest import Query
from tests.repeats import repeats
from tests.workers import ROOT, Worker
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

# Ten processes take their time to start and to end.
pytestmark = pytest.mark.timeout(180)

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
WORKERS = 10
CHANGES = repeats(200, 60)

Record = Callable[[str, object], None]


def called(worker: Worker, name: str, *arguments: Any) -> Any:
    return worker.ask("call", f"tests.faults.confirming.{name}", *arguments)


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def workers(database: str, proxy: Proxy) -> Iterator[list[Worker]]:
    """Ten workers, the last of which comes by way of the proxy."""
    urls = [*[database] * (WORKERS - 1), proxy.url]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(url)) for url in urls]
        for worker in workers:
            worker.send("ready", 30)
        assert [worker.receive() for worker in workers] == [True] * WORKERS
        yield workers
        proxy.resume()


@pytest.fixture
def asker(database: str) -> Iterator[Worker]:
    """A process that waits for the others, and answers nothing itself."""
    with Worker(database) as asker:
        yield asker


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
    """How many have applied it, wait, have vanished and were never seen."""
    return found["applied"], len(found["pending"]), len(found["disconnected"]), found["missing"]


def flags(database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "django", "flags", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_of_ten_workers_two_hang_and_one_is_cut_off(
    database: str, workers: list[Worker], proxy: Proxy, asker: Worker
) -> None:
    hung, cut_off = workers[:2], workers[-1]
    before = called(asker, "confirm", 10, WORKERS)
    assert (before["complete"], counts(before)) == (True, (10, 0, 0, 0))
    with stopped(*hung):
        proxy.stop()
        name = f"fs1 % {cut_off.pid} %"
        found = called(asker, "confirm_while_terminated", database, name, 2)
        assert (found["complete"], counts(found)) == (False, (7, 2, 1, 0))
        assert pids(found["pending"]) == sorted(worker.pid for worker in hung)
        assert pids(found["disconnected"]) == [cut_off.pid]
        assert 2 <= found["seconds"] < 4
        # It has seen them before, and misses the one that is no longer there.
        again = called(asker, "confirm", 0.5)
        assert (again["complete"], counts(again)) == (False, (7, 2, 1, 0))
        # A command has seen nobody before, and knows from its user how many there should be.
        ran = flags(database, "off", "new_checkout", "--wait", "1", "--expect", "10")
        assert ran.returncode == 3
        told = ran.stderr.splitlines()
        assert told[3].startswith("applied by 7 of 9 connected workers after 1.")
        assert all(f"(pid {worker.pid})" in told[4] for worker in hung)
        assert told[5] == "missing: 1 of 10 expected workers did not connect"
    proxy.resume()
    after = called(asker, "confirm", 30, WORKERS)
    assert (after["complete"], counts(after)) == (True, (10, 0, 0, 0))
    assert [worker.ask(*NEW_CHECKOUT, 1) for worker in workers] == [False] * WORKERS


def test_no_worker_confirms_what_committed_after_a_later_token(
    database: str, worker: Worker, asker: Worker, query: Query, record_property: Record
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0")
    false, took = 0, []
    with psycopg.connect(database) as early:
        for number in range(repeats(100, 30)):
            opened = number % 2 == 0
            # It draws its token first, and commits last.
            early.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [100 * opened])
            query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", number)
            worker.sees(["get_value", "gateway"], number, within=2)
            with stopped(worker):
                early.commit()
                false += called(asker, "confirm", 0)["applied"]
            found = called(asker, "confirm", 5)
            assert found["complete"] is True
            false += worker.ask(*NEW_CHECKOUT) is not opened
            took.append(found["seconds"])
    assert false == 0
    record_property("seconds", sorted(took))


def test_ten_workers_confirm_a_change_at_once(
    workers: list[Worker], asker: Worker, record_property: Record
) -> None:
    called(asker, "many_changes", 10)
    made = called(asker, "many_changes", CHANGES)
    took = sorted(seconds for seconds, _ in made)
    assert {applied for _, applied in made} == {WORKERS}
    record_property("seconds", took)
    assert took[-2] <= 0.5


def test_workers_that_reconnect_during_the_wait_have_not_vanished(
    database: str, workers: list[Worker], asker: Worker
) -> None:
    found = called(asker, "confirm_while_terminated", database, "fs1 %", 10)
    assert (found["complete"], counts(found)) == (True, (10, 0, 0, 0))


def test_worker_that_is_killed_during_the_wait_has_vanished(
    database: str, worker: Worker, asker: Worker
) -> None:
    victim = Worker(database)
    try:
        assert victim.ask("ready", 10) is True
        os.kill(victim.pid, signal.SIGSTOP)
        found = called(asker, "confirm_while_killed", victim.pid, 1)
        assert (found["complete"], counts(found)) == (False, (1, 0, 1, 0))
        assert pids(found["disconnected"]) == [victim.pid]
    finally:
        victim.end(signal.SIGKILL)


def test_process_that_waits_is_one_of_the_workers(worker: Worker) -> None:
    for percent in (100, 0) * 10:
        found, enabled = called(worker, "confirm_after_a_change", percent, 1)
        assert (found["complete"], found["applied"]) == (True, 1)
        assert enabled is (percent == 100)


def test_change_past_the_triggers_is_not_confirmed_before_it_is_loaded(
    database: str, worker: Worker, asker: Worker
) -> None:
    false = 0
    with psycopg.connect(database, autocommit=True) as session:
        for percent in (0, 100) * 5:
            # As pg_restore --disable-triggers leaves it, and as whoever notices mends it.
            session.execute("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER ALL")
            session.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [percent])
            session.execute("ALTER TABLE flagstaff_featureflag ENABLE TRIGGER ALL")
            confirmed = called(asker, "confirm", 5)["applied"] == 1
            false += confirmed and worker.ask(*NEW_CHECKOUT) is not (percent == 100)
    assert false == 0


@pytest.mark.parametrize("named", [{}, {"application_name": "shop"}])
def test_workers_behind_a_pooler_are_not_confirmed(
    server: Postgres, database: str, worker: Worker, asker: Worker, named: dict[str, str]
) -> None:
    with PgBouncer(server.port) as pooler:
        url = make_conninfo(database, port=pooler.port, **named)
        with Worker(url) as pooled:
            assert pooled.ask("ready", 10) is True
            # One is seen and has it. How many there are behind the pooler nobody can see.
            found = called(asker, "confirm", 5)
            assert (found["complete"], found["possibly_hidden"], found["applied"]) == (
                False,
                True,
                1,
            )
            # Nor can they be seen from behind it.
            found = called(pooled, "confirm", 5)
            assert (found["complete"], found["possibly_hidden"], found["applied"]) == (
                False,
                True,
                1,
            )
