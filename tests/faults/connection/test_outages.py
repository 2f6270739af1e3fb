"""The server is down, crashes or ends sessions: evaluations go on, and reconnects are rare."""

import signal
import time

import pytest

from tests.faults import evaluation_load
from tests.support.fixtures import OpenToAll, Query
from tests.support.proxy import Proxy
from tests.support.repeats import repeats
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import seconds
from tools.postgres import Postgres

RATE = 10_000
OUTAGE = repeats(60, 20)
MAX_ATTEMPTS = repeats(40, 20)
MAX_SWITCHES = 10
CRASHES = 5
TIMES = repeats(50, 20)
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.mark.timeout(120)
def test_outage_of_a_minute_affects_only_the_age(
    server: Postgres, worker: Worker, proxy: Proxy
) -> None:
    with Worker(proxy.url).loaded() as cut_off:
        surveyed = worker.ask("survey", "new_checkout", 1_000)
        connected = len(proxy.connections)

        server.stop()
        stopped = time.monotonic()
        worker.sees(["mode"], "down", within=3)
        first, first_at = worker.ask("status")["age"], time.monotonic()
        evaluations, switches = worker.call(evaluation_load.count_voluntary_switches, 2)
        assert worker.ask("survey", "new_checkout", 1_000) == surveyed
        # Waits for the rest of the outage.
        time.sleep(max(0.0, stopped + OUTAGE - time.monotonic()))
        last, last_at = worker.ask("status"), time.monotonic()
        attempts = len(proxy.connections) - connected

        server.start()
        for process in (worker, cut_off):
            process.sees(["mode"], "live", within=3)

    assert (last["mode"], last["ready"]) == ("down", True)
    assert last["age"] - first == pytest.approx(last_at - first_at, abs=seconds(1))
    # One failure is the loss of the connection.
    assert last["failures"] - 1 <= MAX_ATTEMPTS
    assert attempts <= MAX_ATTEMPTS
    # In two seconds: no evaluation waits, but the allocator and other processes may.
    assert evaluations > 10_000
    assert switches <= MAX_SWITCHES
    assert len(worker.ask("logged")) <= 2


@pytest.mark.smoke
def test_server_crashes_change_no_result(
    server: Postgres, worker: Worker, open_to_all: OpenToAll
) -> None:
    worker.call(evaluation_load.start, RATE)
    for _ in range(CRASHES):
        # As "pg_ctl stop -m immediate": sessions get no message, and the next start recovers.
        server._end(signal.SIGQUIT)
        worker.sees(["mode"], "down", within=3)
        started = time.monotonic()
        server.start()
        worker.sees(["mode"], "live", within=3)
        age = worker.ask("status")["age"]
        assert age <= time.monotonic() - started
    seen = worker.call(evaluation_load.stop)
    assert (seen["errors"], seen["results"]) == ([], [[True, "stripe"]])
    assert seen["evaluations"] >= 0.9 * RATE * seen["seconds"]
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    assert len(worker.ask("logged")) <= 2 * CRASHES


def test_worker_whose_session_is_terminated_repeatedly_misses_no_change(
    worker: Worker, query: Query
) -> None:
    worker.ask("watch", ["get_value", "gateway"])
    worker.call(evaluation_load.start, RATE)
    for number in range(TIMES):
        assert query(TERMINATE) == (True,)
        # Usually committed while the worker is not connected and gets no notification.
        query("UPDATE flagstaff_featureflag SET rollout_percent = %s", 100 * (number % 2 == 0))
        worker.sees(NEW_CHECKOUT, number % 2 == 0, within=1)
    worker.call(evaluation_load.stop)
    assert worker.ask("watched") == ["stripe"]
    worker.sees(["mode"], "live", within=5)
    status = worker.ask("status")
    assert status["failures"] == TIMES
    # One load per connection, and at most one per change.
    assert TIMES + 1 <= status["loads"] <= 2 * TIMES + 1
    assert len(worker.ask("logged")) <= 2 * TIMES
