"""A function of a cloud: its process runs only while it serves a request."""

import time

import pytest

from tests.support.fixtures import Query
from tests.support.proxy import Proxy
from tests.support.suspension import OVERDUE, POLL, served
from tests.support.workers import GATEWAY, Worker, calling, suspended
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(90)

# When the process is stopped, in ten rounds. The deadline of a poll is two seconds.
AT_ONCE, IN_A_POLL, CUT_OFF = "at once", "in a poll", "in a poll, and its connection is lost"
ROUNDS = [AT_ONCE] * 4 + [IN_A_POLL, CUT_OFF] * 3


def serve_after(seconds: float, worker: Worker, query: Query, gateway: str) -> None:
    """Sends a request to the stopped process, which has been stopped for so long, with a change."""
    query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)", gateway)
    query("SELECT pg_sleep(%s)", seconds)
    worker.send(*calling(served, "sync"))


def test_process_that_runs_only_during_requests_has_each_change(proxy: Proxy, query: Query) -> None:
    with Worker(proxy.url, POLL_INTERVAL=POLL) as worker:
        assert worker.call(served, "sync")[0] == "stripe"
        worker.sees(["mode"], "live", within=5)
        for number, when in enumerate(ROUNDS):
            failures = worker.ask("status")["failures"]
            if when != AT_ONCE:
                proxy.stop()
                # Not much longer: the time counts, because the process runs.
                time.sleep(2 * POLL)
            with suspended(worker):
                if when == CUT_OFF:
                    proxy.cut()
                proxy.resume()
                frozen = OVERDUE + 0.1 if when == AT_ONCE else 2
                serve_after(frozen, worker, query, str(number))
            gateway = worker.receive()[0]
            if when == CUT_OFF:
                # A busy machine may need longer for a new connection than a request waits.
                worker.sees(GATEWAY, str(number), within=3)
            else:
                assert gateway == str(number), when
            status = worker.ask("status")
            assert when == CUT_OFF or status["failures"] == failures, status["last_error"]
        worker.sees(["mode"], "live", within=3)


def test_first_request_after_an_outage_and_a_suspension_has_the_change(
    server: Postgres, database: str, query: Query
) -> None:
    with Worker(database, POLL_INTERVAL=POLL) as worker:
        assert worker.call(served, "sync")[0] == "stripe"
        server.stop()
        worker.sees(["fresh", OVERDUE], False, within=OVERDUE + 3)
        # It waits for the only time in this outage.
        assert worker.call(served, "sync")[0] == "stripe"
        with suspended(worker):
            server.start()
            # Longer than the delay between two attempts to connect.
            serve_after(3.5, worker, query, "paypal")
        assert worker.receive()[0] == "paypal"
