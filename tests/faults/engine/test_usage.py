"""Usage is counted exactly under application servers that fork and exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import at
from tests.faults.app_servers import GUNICORN, ROOT, UWSGI, WORKERS, AppServer, served
from tests.support.sessions import within
from tests.support.workers import Worker
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(120)
Query = Callable[..., Any]

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
    (count,) = query(
        "SELECT coalesce(sum(true_count + false_count), 0)::int FROM flagstaff_usage "
        "WHERE key = %s",
        key,
    )
    return int(count)


def serve(name: str, database: str, interval: int) -> AppServer:
    settings = json.dumps({"USAGE_INTERVAL": interval})
    return served(SERVERS[name], database, EVALUATE_AT_IMPORT="1", FLAGSTAFF=settings)


def survey_each(server: AppServer) -> int:
    """Evaluates until each worker has had a request, and returns the number of evaluations."""
    pids: list[int] = []

    def enough() -> bool:
        pids.append(server.get(f"/survey/{USERS}")["pid"])
        return len(pids) >= REQUESTS and len(set(pids)) == WORKERS

    assert within(30, enough), set(pids)
    return len(pids) * USERS


@pytest.mark.parametrize("interval", [1, 60], ids=["several reports", "last report only"])
@pytest.mark.parametrize("name", SERVERS)
def test_stopped_server_has_recorded_every_evaluation(
    name: str, interval: int, database: str, query: Query
) -> None:
    query("INSERT INTO flagstaff_featureflag (key) VALUES ('surveyed'), (%s)", EARLY)
    with serve(name, database, interval) as server:
        server.wait()
        evaluations = survey_each(server)
    assert usage_of(query, "surveyed") == evaluations
    lost = (
        "SELECT coalesce(array_agg(pid), '{}') FROM flagstaff_usage_worker WHERE stopped_at IS NULL"
    )
    if "before the fork" not in name:
        assert (usage_of(query, EARLY), query(lost)) == (WORKERS, ([],))
    elif name.startswith("gunicorn"):
        # Only the parent reports its own evaluation.
        assert (usage_of(query, EARLY), query(lost)) == (1, ([],))
    else:
        # uWSGI's master exits without Python's exit hooks, so it may be a lost worker.
        reported = usage_of(query, EARLY)
        assert query(lost) == ([server.pid] * reported,)
        assert reported <= 1


# A file, because the last two methods import what they run.
PARENT = """
import multiprocessing, sys, django

def evaluate(times):
    django.setup()
    from flagstaff import flag_enabled
    for user in range(times):
        flag_enabled("new_checkout", user)

if __name__ == "__main__":
    evaluate(100)
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=evaluate, args=(500,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_children_record_every_evaluation(
    method: str, database: str, query: Query, tmp_path: Path
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    project = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    environment = os.environ | project | {"PYTHONPATH": str(ROOT)}
    ran = [sys.executable, "-W", "ignore", str(script), method]
    subprocess.run(ran, env=environment, check=True, timeout=60)
    assert usage_of(query, "new_checkout") == 100 + 2 * 500
    assert query("SELECT count(*), count(stopped_at) FROM flagstaff_usage_worker") == (3, 3)


def test_workers_behind_a_pooler_record_every_evaluation(
    database: str, query: Query, server: Postgres
) -> None:
    with PgBouncer(server.port) as pooler, ExitStack() as ends:
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
