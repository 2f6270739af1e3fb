"""One connection per process, with threads, children and every kind of exit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.postgres.conftest import Query
from tests.sessions import Sessions, within
from tests.workers import Worker
from tools.postgres import Postgres

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]


def test_process_without_evaluations_does_not_connect(database: str, sessions: Sessions) -> None:
    with Worker(database) as worker:
        assert worker.ask("status")["mode"] == "idle"
        assert sessions() == []


def test_process_has_one_connection(worker: Worker, sessions: Sessions) -> None:
    worker.ask("refresh")
    worker.ask("in_threads", 8, NEW_CHECKOUT)
    name = rf"fs2 \d+ \d+ [0-9a-f]{{8}} L {worker.pid} .+"
    assert within(1, lambda: len(sessions()) == 1)
    [session] = sessions()
    assert re.fullmatch(name, session.name)


def test_concurrent_first_evaluations_all_return_the_result(
    database: str, open_to_all: Callable[[], None], sessions: Sessions
) -> None:
    open_to_all()
    with Worker(database) as worker:
        assert worker.ask("in_threads", 8, NEW_CHECKOUT) == [True] * 8
        assert len(sessions()) == 1


@pytest.mark.parametrize(
    ("how", "status"), [("sys.exit", 3), ("os._exit", 3), ("uncaught", 1), ("kill", -9)]
)
def test_ended_process_leaves_no_session(
    how: str, status: int, database: str, sessions: Sessions
) -> None:
    worker = Worker(database)
    assert worker.ask("ready", 10) is True
    worker.send("exit", how)
    exit_status, errors = worker.end()
    assert exit_status == status
    assert "Fatal" not in errors
    assert within(2, lambda: sessions() == [])


def test_process_that_runs_to_its_end_leaves_no_session(worker: Worker, sessions: Sessions) -> None:
    assert worker.end() == (0, "")
    assert within(2, lambda: sessions() == [])


def test_process_ends_quickly_during_a_load(database: str, query: Query) -> None:
    worker = Worker(database)
    assert worker.ask("ready", 10) is True
    worker.ask("reload_constantly")
    started = time.monotonic()
    assert worker.end() == (0, "")
    assert time.monotonic() - started < 3


def test_forked_child_evaluates_from_the_inherited_snapshot(
    server: Postgres, database: str
) -> None:
    with Worker(database, STARTUP_TIMEOUT=5) as worker:
        assert worker.ask("get_value", "gateway") == "stripe"
        server.stop()
        started = time.monotonic()
        assert worker.ask("in_fork", "os._exit", [["get_value", "gateway"]]) == ["stripe"]
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("how", ["sys.exit", "os._exit", "kill"])
def test_forked_child_has_its_own_engine_beside_its_parents(
    how: str, worker: Worker, query: Query, sessions: Sessions
) -> None:
    [parent] = sessions()
    until_paypal = ["until", ["get_value", "gateway"], "paypal", 5]
    worker.send("in_fork", how, [["get_value", "gateway"], until_paypal, ["mode"]])
    assert within(3, lambda: len(sessions()) == 2)
    query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
    before, took, mode = worker.receive()
    assert (before, took is not None, mode) == ("stripe", True, "live")
    assert within(2, lambda: sessions() == [parent])
    worker.sees(["get_value", "gateway"], "paypal", within=1)
    assert worker.ask("status")["failures"] == 0


def test_forks_during_loads_evaluate_and_become_live(worker: Worker) -> None:
    worker.ask("reload_constantly")
    commands = [["get_value", "gateway"], ["until", ["mode"], "live", 5]]
    results = [worker.ask("in_fork", "os._exit", commands) for _ in range(25)]
    assert worker.ask("watched") == []
    assert [value for value, _ in results] == ["stripe"] * 25
    assert None not in [took for _, took in results]


def test_child_of_a_fork_outside_python_starts_its_own_engine(
    worker: Worker, sessions: Sessions
) -> None:
    [parent] = sessions()
    commands = [["survey", "new_checkout", 2_000], ["until", ["mode"], "live", 5]]
    survey, took = worker.ask("in_fork", "os._exit", commands, True)
    assert (survey, took is not None) == (worker.ask("survey", "new_checkout", 2_000), True)
    assert within(2, lambda: sessions() == [parent])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_pool_evaluates(
    method: str, worker: Worker, open_to_all: Callable[[], None], sessions: Sessions
) -> None:
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    result, pid = worker.ask("in_pool", method, [NEW_CHECKOUT, ["pid"]])
    assert result is True
    assert pid != worker.pid
    assert within(2, lambda: len(sessions()) == 1)
