"""The pool through faults: what is counted arrives once, and neither threads nor sockets grow."""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.clusters import at
from tests.support.fixtures import Query, execute
from tests.support.orphans import open_sockets, resources
from tests.support.plan_requests import has_problem, requests
from tests.support.plans import KEY, counted, start_run
from tests.support.proxy import Proxy
from tests.support.repeats import repeats
from tests.support.sessions import Sessions, within
from tests.support.workers import Worker, calling
from tools.postgres import Postgres
from tools.replica import Replica

TURNS = repeats(1000, 40)
FORKS = repeats(1000, 50)
POOL_SIZE = 2
REFUSED = "this worker cannot write the counts of rollout plans"
TERMINATE = (
    "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

# These functions run in the worker.


def fork_at_flushes(times: int) -> list[int]:
    """Forks at each new connection of the pool, and returns the children, which wait."""
    children = []
    for _ in range(times):
        # A connection may come and go between two looks.
        while len(open_sockets()) < 2:
            requests(KEY, [1])
        pid = os.fork()
        if pid == 0:
            # The parent's end must close its standard streams.
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
            signal.pause()
        children.append(pid)
        while len(open_sockets()) > 1:
            pass
    return children


def reporting(url: str, usage_interval: float = 60) -> Worker:
    """A worker that keeps the connections of its pool."""
    settings: dict[str, Any] = {"USAGE_INTERVAL": usage_interval, "MEASURE_INTERVAL": 0.1}
    return Worker(url, POOL_SIZE=POOL_SIZE, POOL_IDLE=60, **settings).loaded()


def reports(worker: Worker, query: Query, run: int, times: int) -> None:
    """Makes a request, and waits until exactly this many are counted in all."""
    worker.call(requests, KEY, [1], 200)
    assert within(20, lambda: sum(counted(query, run, "r")) >= times), worker.ask("status")
    assert sum(counted(query, run, "r")) == times


@pytest.fixture
def faults(proxy: Proxy, query: Query) -> list[Callable[[Worker], None]]:
    """A broken connection, an unknown outcome, a freeze, and a demoted and promoted primary."""

    def lose_answer(worker: Worker) -> None:
        proxy.lose_answers(b"flagstaff_rollouts_signalcount", b"COMMIT", times=1)

    def freeze(worker: Worker) -> None:
        proxy.stop()
        worker.call(requests, KEY, [1], 200)
        proxy.cut()
        proxy.resume()

    def demote(worker: Worker) -> None:
        database = query("SELECT current_database()")[0]
        for value in ("on", "off"):
            change = f'ALTER DATABASE "{database}" SET default_transaction_read_only = {value}'
            query(f"BEGIN READ WRITE; {change}; COMMIT")
            query(TERMINATE)
            if value == "on":
                worker.call(requests, KEY, [1], 200)
                refused = calling(has_problem, REFUSED)
                worker.sees(refused, True, within=20)

    return [lambda _worker: proxy.cut(), lose_answer, freeze, demote]


@pytest.mark.timeout(1800)
def test_faults_neither_lose_nor_double_counts_nor_grow_the_process(
    proxy: Proxy, query: Query, faults: list[Callable[[Worker], None]]
) -> None:
    run, times = start_run(query), 1
    with reporting(proxy.url) as worker:
        reports(worker, query, run, times)
        before = resources(worker.pid)
        for turn in range(TURNS):
            fault = faults[turn % len(faults)]
            fault(worker)
            # Some faults make a request of their own.
            times += 1 + (fault in faults[2:])
            reports(worker, query, run, times)

        def grown() -> list[int]:
            now = resources(worker.pid)
            return [is_now - was for is_now, was in zip(now, before, strict=True)]

        assert within(10, lambda: max(grown()) <= 0), grown()


@pytest.mark.timeout(300)
def test_frozen_server_delays_no_evaluation_and_holds_no_more_sockets_than_the_pool(
    proxy: Proxy, query: Query
) -> None:
    run = start_run(query)
    with reporting(proxy.url, usage_interval=1) as worker:
        reports(worker, query, run, 1)
        proxy.stop()
        worker.call(requests, KEY, [1], 200)
        connections = len(proxy.connections)
        # Two flushes have missed their deadline, and others have begun.
        while len(proxy.connections) < connections + 2:
            worker.sees(["flag_enabled", KEY, 1], True, within=0.5)
            # One for the engine, which connects again, too.
            assert len(worker.call(open_sockets)) <= 2 + POOL_SIZE
        proxy.resume()
        assert within(20, lambda: sum(counted(query, run, "r")) == 2)


def test_counts_follow_a_failover(
    server: Postgres, database: str, query: Query, standby: Replica
) -> None:
    run = start_run(query)
    url = at(database, server.port, standby.port, attrs="read-write")
    with reporting(url) as worker:
        reports(worker, query, run, 1)
        server.stop()
        standby.promote()
        reports(worker, partial(execute, at(database, standby.port)), run, 2)


@pytest.mark.timeout(300)
def test_killed_parent_leaves_no_session_after_forks_during_flushes(
    database: str, query: Query, sessions: Sessions
) -> None:
    start_run(query)
    worker = Worker(database, MEASURE_INTERVAL=0.1, POOL_IDLE=0).loaded()
    children = worker.call(fork_at_flushes, FORKS)
    try:
        worker.end(by=signal.SIGKILL)
        assert within(5, lambda: sessions() == []), sessions()
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
