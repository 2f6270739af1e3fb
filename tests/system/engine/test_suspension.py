"""A suspended process: the first request afterwards waits for a poll, once in an outage."""

from collections.abc import Iterator

import pytest

from tests.support.fixtures import Query
from tests.support.suspension import OVERDUE, POLL, served
from tests.support.workers import Worker, calling, suspended
from tools.limits import seconds
from tools.postgres import Postgres

# How many seconds a request waits.
WAIT = 0.3


@pytest.fixture
def polling(database: str) -> Iterator[Worker]:
    """A worker that polls often and has evaluated in a request."""
    # A child does not wait for a load of its own.
    with Worker(database, POLL_INTERVAL=POLL, STARTUP_TIMEOUT=0).loaded() as worker:
        assert worker.call(served, "sync")[0] == "stripe"
        yield worker


@pytest.mark.parametrize("kind", ["sync", "async", "task"])
def test_first_request_after_a_suspension_has_the_change(
    kind: str, database: str, query: Query
) -> None:
    if kind == "task":
        pytest.importorskip("celery")
    with Worker(database, POLL_INTERVAL=POLL) as worker:
        assert worker.call(served, kind)[0] == "stripe"
        with suspended(worker):
            query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
            query("SELECT pg_sleep(%s)", OVERDUE)
            # It is the first thing that the process reads.
            worker.send(*calling(served, kind))
        assert worker.receive()[0] == "paypal"


def test_requests_of_an_outage_wait_together_and_once(server: Postgres, polling: Worker) -> None:
    for _ in range(2):
        server.stop()
        polling.sees(["fresh", OVERDUE], False, within=OVERDUE + 3)
        waited = [took for _, took in polling.ask("in_threads", 8, calling(served, "sync"))]
        assert WAIT - 0.05 <= max(waited) < WAIT + seconds(1)
        later = [polling.call(served, kind) for kind in ("sync", "async") * 5]
        assert min(took for _, took in later) < WAIT / 3
        assert {value for value, _ in later} == {"stripe"}
        server.start()
        polling.sees(["mode"], "live", within=3)


def test_request_in_a_child_does_not_wait_for_the_engine_of_the_parent(
    server: Postgres, polling: Worker
) -> None:
    server.stop()
    polling.sees(["fresh", OVERDUE], False, within=OVERDUE + 3)
    of_children = [
        polling.ask("in_fork", "os._exit", [calling(served, "sync")], True)[0] for _ in range(3)
    ]
    assert {value for value, _ in of_children} == {"stripe"}
    assert min(took for _, took in of_children) < WAIT
    # The parent has not waited in this outage yet.
    assert polling.call(served, "sync")[1] >= WAIT - 0.05
