"""POOL_IDLE: a worker keeps one connection while it writes reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.fixtures import Query
from tests.support.measured_plans import KEY, counted, start_run
from tests.support.sessions import Sessions, within
from tests.support.workers import Worker


def sockets() -> list[str]:
    """The open sockets of the process. Runs in the worker."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return sorted(link for link in links if link.startswith("socket:"))


def ready_worker(url: str, idle: float, interval: float = 0.1) -> Worker:
    worker = Worker(url, MEASURE_INTERVAL=interval, POOL_IDLE=idle)
    assert worker.ask("ready", 10) is True
    return worker


def report(worker: Worker, query: Query, run: int, times: int = 1) -> None:
    """Makes a request, and waits until this many are counted in all."""
    worker.ask("call", "tests.support.plan_requests.requests", KEY, [1], 200)
    assert within(5, lambda: sum(counted(query, run, "r")) == times)


def pooled(sessions: Sessions, worker: Worker) -> list[int]:
    """The backends of the worker's connections but its permanent one."""
    return [session.backend for session in sessions() if session.owner != worker.pid]


def test_worker_keeps_one_connection_while_it_reports_and_closes_it_at_its_end(
    database: str, query: Query, sessions: Sessions
) -> None:
    run = start_run(query)
    with ready_worker(database, idle=60) as worker:
        kept = []
        for times in range(1, 4):
            report(worker, query, run, times)
            kept.append(pooled(sessions, worker))
        assert kept == [kept[0]] * 3
        assert len(kept[0]) == 1
    assert within(2, lambda: sessions() == [])


def test_worker_keeps_no_connection_by_default(
    database: str, query: Query, sessions: Sessions
) -> None:
    run = start_run(query)
    with ready_worker(database, idle=0) as worker:
        for times in range(1, 4):
            report(worker, query, run, times)
            assert within(2, lambda: pooled(sessions, worker) == [])


def test_forked_child_closes_the_connection_that_its_parent_keeps(
    database: str, query: Query, sessions: Sessions
) -> None:
    run = start_run(query)
    with ready_worker(database, idle=60) as worker:
        report(worker, query, run)
        kept = pooled(sessions, worker)
        of_parent = worker.ask("call", f"{__name__}.sockets")
        commands: list[Any] = [["call", f"{__name__}.sockets"], ["ready", 10], ["refresh"]]
        of_child, *results = worker.ask("in_fork", "os._exit", commands)
        assert (of_child, results[0]) == ([], True)
        assert len(of_parent) == 2
        # The parent's session has not noticed.
        report(worker, query, run, times=2)
        assert pooled(sessions, worker) == kept


def test_session_that_the_server_ends_is_replaced_by_the_next_report(
    database: str, query: Query, sessions: Sessions
) -> None:
    run = start_run(query)
    with ready_worker(database, idle=60) as worker:
        report(worker, query, run)
        [kept] = pooled(sessions, worker)
        assert query("SELECT pg_terminate_backend(%s, 10000)", kept) == (True,)
        report(worker, query, run, times=2)
        assert pooled(sessions, worker) != [kept]


def test_last_report_is_written_although_the_server_has_ended_the_kept_session(
    database: str, query: Query, sessions: Sessions
) -> None:
    run = start_run(query)
    with ready_worker(database, idle=60, interval=2) as worker:
        report(worker, query, run)
        [kept] = pooled(sessions, worker)
        assert query("SELECT pg_terminate_backend(%s, 10000)", kept) == (True,)
        worker.ask("call", "tests.support.plan_requests.requests", KEY, [1], 200)
    assert sum(counted(query, run, "r")) == 2
