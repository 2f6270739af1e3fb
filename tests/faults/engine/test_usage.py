"""Usage is counted exactly under application servers that fork and exit."""

import json
from contextlib import ExitStack

import pytest

from tests.faults.app_servers import GUNICORN, UWSGI, WORKERS, AppServer, served
from tests.support.clusters import at
from tests.support.fixtures import Query
from tests.support.sessions import within
from tests.support.workers import Worker
from tools.pgbouncer import PgBouncer

pytestmark = pytest.mark.timeout(120)

REQUESTS, USERS = 40, 500
SERVERS = {
    "gunicorn": ["gunicorn", *GUNICORN],
    "gunicorn with threads": ["gunicorn", "--worker-class=gthread", "--threads=8", *GUNICORN],
    "gunicorn with gevent": ["gunicorn", "--worker-class=gevent", *GUNICORN],
    "gunicorn, evaluated before the fork": ["gunicorn", "--preload", *GUNICORN],
    "uwsgi, evaluated before the fork": ["uwsgi", *UWSGI],
    "uwsgi, lazy": ["uwsgi", "--lazy-apps", *UWSGI],
}
#: The flag that the application evaluates at import.
EARLY = "evaluated_at_import"


def usage_of(query: Query, key: str) -> int:
    (count,) = query("SELECT coalesce(sum(count), 0)::int FROM flagstaff_usage WHERE key = %s", key)
    return int(count)


def survey_each(server: AppServer) -> int:
    """Evaluates until each worker has had a request, and returns the number of evaluations."""
    pids: list[int] = []

    def enough() -> bool:
        pids.append(server.get(f"/survey/{USERS}")["pid"])
        return len(pids) >= REQUESTS and len(set(pids)) == WORKERS

    assert within(30, enough), set(pids)
    return len(pids) * USERS


@pytest.mark.parametrize("name", SERVERS)
def test_stopped_server_has_recorded_every_evaluation(
    name: str, database: str, query: Query
) -> None:
    query("INSERT INTO flagstaff_featureflag (key) VALUES ('surveyed'), (%s)", EARLY)
    # The workers write their last report only.
    settings = json.dumps({"USAGE_INTERVAL": 60})
    with served(SERVERS[name], database, EVALUATE_AT_IMPORT="1", FLAGSTAFF=settings) as server:
        server.wait()
        evaluations = survey_each(server)
    assert usage_of(query, "surveyed") == evaluations
    early = usage_of(query, EARLY)
    [lost] = query(
        "SELECT coalesce(array_agg(pid), '{}') FROM flagstaff_report WHERE stopped_at IS NULL"
    )
    if name == "uwsgi, evaluated before the fork":
        # uWSGI's master exits without Python's exit hooks, so it may be a lost worker.
        assert (early, lost) in [(0, []), (1, [server.pid])]
    else:
        # Evaluated before the fork, only the parent reports its own evaluation.
        assert (early, lost) == (1 if "before the fork" in name else WORKERS, [])


def test_workers_behind_a_pooler_record_every_evaluation(
    database: str, query: Query, pooler: PgBouncer
) -> None:
    with ExitStack() as ends:
        url = at(database, pooler.port)
        workers = [ends.enter_context(Worker(url, USAGE_INTERVAL=1)) for _ in range(WORKERS)]
        assert all(worker.ask("ready", 10) for worker in workers)
        for turn in range(1, 4):
            for worker in workers:
                worker.ask("survey", "new_checkout", 1000)
            evaluations = turn * WORKERS * 1000
            assert within(20, lambda: usage_of(query, "new_checkout") == evaluations)  # noqa: B023
        for worker in workers:
            worker.ask("survey", "new_checkout", 700)
    assert usage_of(query, "new_checkout") == evaluations + WORKERS * 700
