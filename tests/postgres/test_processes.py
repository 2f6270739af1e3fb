"""One connection per process, whatever its threads, children and end."""

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


def test_process_that_asks_nothing_connects_nowhere(database: str, sessions: Sessions) -> None:
    with Worker(database) as worker:
        assert worker.ask("status")["mode"] == "idle"
        assert sessions() == []


def test_process_has_one_connection(worker: Worker, sessions: Sessions) -> None:
    worker.ask("refresh")
    worker.ask("together", 8, NEW_CHECKOUT)
    name = rf"fs1 \d+ [0-9a-f]{{8}} L {worker.pid} .+"
    assert within(1, lambda: len(sessions()) == 1)
    [session] = sessions()
    assert re.fullmatch(name, session.name)


def test_threads_that_ask_first_together_all_get_the_answer(
    database: str, open_to_all: Callable[[], None], sessions: Sessions
) -> None:
    open_to_all()
    with Worker(database) as worker:
        assert worker.ask("together", 8, NEW_CHECKOUT) == [True] * 8
        assert len(sessions()) == 1


@pytest.mark.parametrize(
    ("how", "status"), [("sys.exit", 3), ("os._exit", 3), ("uncaught", 1), ("kill", -9)]
)
def test_process_that_ends_leaves_no_session(
    how: str, status: int, database: str, sessions: Sessions
) -> None:
    worker = Worker(database)
    assert worker.ask("ready", 10) is True
    worker.tell("leave", how)
    ended, complaints = worker.end()
    assert ended == status
    assert "Fatal" not in complaints
    assert within(2, lambda: sessions() == [])


def test_process_that_ends_by_itself_leaves_no_session(worker: Worker, sessions: Sessions) -> None:
    assert worker.end() == (0, "")
    assert within(2, lambda: sessions() == [])


def test_process_ends_at_once_during_a_load(database: str, query: Query) -> None:
    worker = Worker(database)
    assert worker.ask("ready", 10) is True
    worker.ask("reload_constantly")
    begun = time.monotonic()
    assert worker.end() == (0, "")
    assert time.monotonic() - begun < 3


def test_forked_child_answers_at_once_from_what_it_inherits(
    server: Postgres, database: str
) -> None:
    with Worker(database, STARTUP_TIMEOUT=5) as worker:
        assert worker.ask("get_value", "gateway") == "stripe"
        server.stop()
        begun = time.monotonic()
        assert worker.ask("in_fork", "os._exit", [["get_value", "gateway"]]) == ["stripe"]
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("how", ["sys.exit", "os._exit", "kill"])
def test_forked_child_has_an_engine_of_its_own_and_leaves_that_of_its_parent_alone(
    how: str, worker: Worker, query: Query, sessions: Sessions
) -> None:
    [parent] = sessions()
    until_paypal = ["until", ["get_value", "gateway"], "paypal", 5]
    worker.tell("in_fork", how, [["get_value", "gateway"], until_paypal, ["mode"]])
    assert within(3, lambda: len(sessions()) == 2)
    query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
    before, took, mode = worker.hear()
    assert (before, took is not None, mode) == ("stripe", True, "live")
    assert within(2, lambda: [s.backend for s in sessions()] == [parent.backend])
    worker.sees(["get_value", "gateway"], "paypal", within=1)
    assert worker.ask("status")["failures"] == 0


def test_forks_beside_loads_answer_and_become_live(worker: Worker) -> None:
    worker.ask("reload_constantly")
    questions = [["get_value", "gateway"], ["until", ["mode"], "live", 5]]
    answers = [worker.ask("in_fork", "os._exit", questions) for _ in range(25)]
    assert worker.ask("watched") == []
    assert [answer for answer, _ in answers] == ["stripe"] * 25
    assert None not in [took for _, took in answers]


def test_child_of_a_fork_that_python_did_not_make_finds_out(
    worker: Worker, sessions: Sessions
) -> None:
    [parent] = sessions()
    questions = [["survey", "new_checkout", 2_000], ["until", ["mode"], "live", 5]]
    survey, took = worker.ask("in_fork", "os._exit", questions, True)
    assert (survey, took is not None) == (worker.ask("survey", "new_checkout", 2_000), True)
    assert within(2, lambda: [s.backend for s in sessions()] == [parent.backend])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_of_multiprocessing_answers(
    method: str, worker: Worker, open_to_all: Callable[[], None], sessions: Sessions
) -> None:
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    answer, pid = worker.ask("in_pool", method, [NEW_CHECKOUT, ["pid"]])
    assert answer is True
    assert pid != worker.pid
    assert within(2, lambda: len(sessions()) == 1)
