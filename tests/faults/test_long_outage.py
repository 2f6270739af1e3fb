"""The server is away for a minute: nobody who asks can tell, and nobody knocks without end."""

from __future__ import annotations

import time

import pytest

from tests.faults.proxy import Proxy
from tests.repeats import repeats
from tests.workers import Worker
from tools.postgres import Postgres

OUTAGE = repeats(60, 20)
MOST_TRIES = repeats(40, 20)
# Of what a question took before. 1.2 is wanted of a machine that has nothing else to do.
AS_FAST = 1.4


@pytest.mark.timeout(120)
def test_minute_without_a_server_costs_nothing_but_freshness(
    server: Postgres, database: str
) -> None:
    with Proxy(database) as proxy, Worker(database) as refused, Worker(proxy.url) as cut_off:
        for worker in (refused, cut_off):
            assert worker.ask("ready", 10) is True
        before = refused.ask("call", "tests.faults.reader.latency")
        surveyed = refused.ask("survey", "new_checkout", 1_000)
        loaded = len(proxy.tries)

        server.stop()
        stopped = time.monotonic()
        refused.sees(["mode"], "down", within=3)
        first, first_at = refused.ask("status")["age"], time.monotonic()
        during = refused.ask("call", "tests.faults.reader.latency")
        assert refused.ask("survey", "new_checkout", 1_000) == surveyed
        # The outage itself is what has to last.
        time.sleep(stopped + OUTAGE - time.monotonic())
        last, last_at = refused.ask("status"), time.monotonic()
        tries = len(proxy.tries) - loaded

        server.start()
        ready = time.monotonic()
        for worker in (refused, cut_off):
            worker.sees(["mode"], "live", within=ready + 3 - time.monotonic())
        logged = [line for _, line in refused.ask("logged")]

    assert (last["mode"], last["ready"]) == ("down", True)
    assert last["age"] - first == pytest.approx(last_at - first_at, abs=0.05)
    # One of the failures is the loss of the link.
    assert last["failures"] - 1 <= MOST_TRIES
    assert tries <= MOST_TRIES
    assert during <= AS_FAST * before
    assert len(logged) <= 2
