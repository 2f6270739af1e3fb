"""The server stops, restarts or hangs: evaluations continue with the last snapshot."""

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.support.fixtures import OpenToAll, Query
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import seconds
from tools.postgres import Postgres

ENGINE = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'flagstaff %% ' || %s || ' %%'"
)


def test_stopped_server_changes_no_result(server: Postgres, worker: Worker) -> None:
    before = worker.ask("survey", "new_checkout", 10_000)
    assert len(before) == pytest.approx(3_300, rel=0.1)
    server.stop()
    worker.sees(["mode"], "down", within=3)
    with pytest.raises(AssertionError, match="RefreshError"):
        worker.ask("refresh", 0.5)
    assert worker.ask("survey", "new_checkout", 10_000) == before
    assert worker.ask("get_value", "gateway") == "stripe"


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_worker_recovers_soon_after_its_server(
    end: Callable[[Postgres], None], server: Postgres, worker: Worker, open_to_all: OpenToAll
) -> None:
    worker.ask("watch", NEW_CHECKOUT)
    end(server)
    worker.sees(["mode"], "down", within=3)
    server.start()
    back = time.monotonic()
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=back + 3 - time.monotonic())
    assert worker.ask("watched") == [False, True]


def test_terminated_session_is_replaced_without_a_warning(
    worker: Worker, query: Query, open_to_all: OpenToAll
) -> None:
    [before] = query(ENGINE, worker.pid)
    query("SELECT pg_terminate_backend(%s)", before)
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    assert query(ENGINE, worker.pid) != (before,)
    worker.sees(["failed", 1], True, within=5)
    worker.sees(["mode"], "live", within=5)
    worker.ask("survey", "new_checkout", 2_000)
    assert "WARNING" not in [level for level, _ in worker.ask("logged")]


def test_hung_backend_is_replaced(database: str, query: Query, open_to_all: OpenToAll) -> None:
    with Worker(database, POLL_INTERVAL=0.2).loaded() as worker:
        [backend] = query(ENGINE, worker.pid)
        os.kill(backend, signal.SIGSTOP)
        try:
            open_to_all()
            started = time.monotonic()
            assert worker.ask(*NEW_CHECKOUT) is False
            assert time.monotonic() - started < seconds(1.5)
            # The next poll, its deadline, and the delay before a reconnect.
            worker.sees(NEW_CHECKOUT, True, within=0.22 + 2 + 1)
        finally:
            os.kill(backend, signal.SIGCONT)


def test_first_evaluation_without_a_server_returns_the_default(
    server: Postgres, database: str
) -> None:
    server.stop()
    with Worker(database, STARTUP_TIMEOUT=2) as worker:
        assert worker.ask("pid") == worker.pid
        started = time.monotonic()
        assert worker.ask("flag_enabled", "new_checkout", 3, True) is True
        assert worker.ask("get_value", "gateway", "none") == "none"
        assert 2 <= time.monotonic() - started < seconds(4)
        assert worker.ask("explain", "new_checkout", 3)["error_code"] == "PROVIDER_NOT_READY"
        assert worker.ask("status")["ready"] is False
        [[level, message]] = worker.ask("logged")
        assert level == "WARNING"
        assert message == (
            "flags are not loaded yet, so evaluations return their default: "
            "connect: the server cannot be reached (connection refused)"
        )
        server.start()
        worker.sees(["mode"], "live", within=3)
        assert worker.ask("get_value", "gateway", "none") == "stripe"


def test_silent_server_delays_the_first_evaluation_by_the_startup_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Worker(f"postgres://127.0.0.1:{port}/flags", STARTUP_TIMEOUT=0.3) as worker:
            assert worker.ask("pid") == worker.pid
            started = time.monotonic()
            assert worker.ask("flag_enabled", "new_checkout", 3, True) is True
            assert 0.3 <= time.monotonic() - started < seconds(2)
            [[_, message]] = worker.ask("logged")
            late = "takes longer than STARTUP_TIMEOUT; check the database, or increase the timeout"
            assert message.endswith(f"the first load {late}")


def test_status_and_log_follow_an_outage(server: Postgres, worker: Worker) -> None:
    live = worker.ask("status")
    assert (live["mode"], live["ready"], live["last_error"]) == ("live", True, None)
    assert (live["flags"], live["values"], live["pid"]) == (1, 1, worker.pid)
    server.stop()
    worker.sees(["failed", 2], True, within=3)
    worker.sees(["fresh", live["age"] + 0.2], False, within=2)
    # The first attempts may still find the server that stops, and are refused by it.
    worker.sees(["last_error_has", "connect: the server cannot be reached ("], True, within=5)
    down = worker.ask("status")
    assert (down["ready"], down["version"], down["token"]) == (True, live["version"], live["token"])
    assert not any(text in down["last_error"] for text in ("127.0.0.1", str(server.port)))
    worker.sees(["has_logged", 1], True, within=5)
    worker.ask("survey", "new_checkout", 10_000)
    server.start()
    worker.sees(["mode"], "live", within=3)
    back = worker.ask("status")
    assert back["age"] < down["age"]
    assert back["loads"] == live["loads"] + 1
    # Not reset. It may be the error of a later attempt, while the server was starting.
    assert back["last_error"].startswith("connect: ")
    worker.sees(["has_logged", 2], True, within=5)
    worker.ask("survey", "new_checkout", 10_000)
    [[_, went_down], [_, went_up]] = worker.ask("logged")
    assert went_down.startswith("flags are not refreshed; the last snapshot is still used: ")
    assert went_up == "flags are up to date again (live)"
