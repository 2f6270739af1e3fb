"""The server is down for a minute: evaluations are unaffected, and reconnects are rare."""

from __future__ import annotations

import time

import pytest

from tests.faults.proxy import Proxy
from tests.support.repeats import repeats
from tests.support.workers import Worker
from tools.postgres import Postgres

OUTAGE = repeats(60, 20)
MAX_ATTEMPTS = repeats(40, 20)


@pytest.mark.timeout(120)
def test_outage_of_a_minute_affects_only_the_age(server: Postgres, database: str) -> None:
    with Proxy(database) as proxy, Worker(database) as refused, Worker(proxy.url) as cut_off:
        for worker in (refused, cut_off):
            assert worker.ask("ready", 10) is True
        surveyed = refused.ask("survey", "new_checkout", 1_000)
        connected = len(proxy.connections)

        server.stop()
        stopped = time.monotonic()
        refused.sees(["mode"], "down", within=3)
        first, first_at = refused.ask("status")["age"], time.monotonic()
        count = "tests.faults.evaluation_load.count_voluntary_switches"
        evaluations, switches = refused.ask("call", count, 2)
        assert refused.ask("survey", "new_checkout", 1_000) == surveyed
        # Waits for the rest of the outage.
        time.sleep(stopped + OUTAGE - time.monotonic())
        last, last_at = refused.ask("status"), time.monotonic()
        attempts = len(proxy.connections) - connected

        server.start()
        ready = time.monotonic()
        for worker in (refused, cut_off):
            worker.sees(["mode"], "live", within=ready + 3 - time.monotonic())
        logged = [line for _, line in refused.ask("logged")]

    assert (last["mode"], last["ready"]) == ("down", True)
    assert last["age"] - first == pytest.approx(last_at - first_at, abs=1)
    # One failure is the loss of the connection.
    assert last["failures"] - 1 <= MAX_ATTEMPTS
    assert attempts <= MAX_ATTEMPTS
    # No evaluation waits; `benches.outage` compares the latency.
    assert evaluations > 100_000
    assert switches == 0
    assert len(logged) <= 2
