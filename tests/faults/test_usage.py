"""What servers of others' make are asked is written down exactly, also where they fork and end."""

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

from tests.clusters import at
from tests.faults.servers import ROOT, Server, program
from tests.sessions import within
from tests.workers import Worker
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(120)
Query = Callable[..., Any]

WORKERS, REQUESTS, USERS = 2, 40, 500
GUNICORN = [
    *("--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--keep-alive=0"),
    *("--worker-tmp-dir=/dev/shm", "--no-control-socket", "tests.faults.served.wsgi"),
]
UWSGI = [
    *("--http-socket=127.0.0.1:{port}", "--master", f"--processes={WORKERS}", "--need-app"),
    *("--single-interpreter", "--disable-logging", "--enable-threads"),
    # By --die-on-term it would cut a worker off that is still about its last request.
    "--hook-master-start=unix_signal:15 gracefully_kill_them_all",
    *("--worker-reload-mercy=5", f"--chdir={ROOT}", "--module=tests.faults.served.wsgi"),
]
SERVERS = {
    "gunicorn": ["gunicorn", *GUNICORN],
    "gunicorn with threads": ["gunicorn", "--worker-class=gthread", "--threads=8", *GUNICORN],
    "gunicorn with gevent": ["gunicorn", "--worker-class=gevent", *GUNICORN],
    "gunicorn, asked before the fork": ["gunicorn", "--preload", *GUNICORN],
    "uwsgi, asked before the fork": ["uwsgi", *UWSGI],
    "uwsgi, lazy": ["uwsgi", "--lazy-apps", *UWSGI],
}
#: What the application asks while it is imported.
EARLY = "asked_early"


def counted(query: Query, key: str) -> int:
    (count,) = query(
        "SELECT coalesce(sum(yes + no), 0)::int FROM flagstaff_usage WHERE key = %s", key
    )
    return int(count)


def serve(name: str, database: str, interval: int) -> Server:
    first, *options = SERVERS[name]
    variables = {"ASK_EARLY": "1", "FLAGSTAFF": json.dumps({"USAGE_INTERVAL": interval})}
    if first == "uwsgi":
        variables["VIRTUAL_ENV"] = str(Path(program(first)).parent.parent)
    return Server(program(first), *options, database=database, **variables)


def survey_each(server: Server) -> int:
    """Ask until each worker has been asked; how many questions that were."""
    asked: list[int] = []

    def enough() -> bool:
        asked.append(server.get(f"/survey/{USERS}")["pid"])
        return len(asked) >= REQUESTS and len(set(asked)) == WORKERS

    assert within(30, enough), set(asked)
    return len(asked) * USERS


@pytest.mark.parametrize("interval", [1, 60], ids=["flushed between", "by the farewell alone"])
@pytest.mark.parametrize("name", SERVERS)
def test_server_that_is_told_to_stop_has_written_down_every_question(
    name: str, interval: int, database: str, query: Query
) -> None:
    query("INSERT INTO flagstaff_featureflag (key) VALUES ('surveyed'), (%s)", EARLY)
    with serve(name, database, interval) as server:
        server.wait()
        asked = survey_each(server)
    assert counted(query, "surveyed") == asked
    silent = (
        "SELECT coalesce(array_agg(pid), '{}') FROM flagstaff_usage_worker WHERE stopped_at IS NULL"
    )
    if "before the fork" not in name:
        assert (counted(query, EARLY), query(silent)) == (WORKERS, ([],))
    elif name.startswith("gunicorn"):
        # What the parent was asked is told by the parent alone.
        assert (counted(query, EARLY), query(silent)) == (1, ([],))
    else:
        # uWSGI's master ends without Python's farewells: it tells while it runs, or not at all.
        told = counted(query, EARLY)
        assert (told, query(silent)) == (told, ([server.pid] * told,))
        assert told <= 1


# A file, for children of the last two methods import what they run.
PARENT = """
import multiprocessing, sys, django

def ask(times):
    django.setup()
    from flagstaff import flag_enabled
    for user in range(times):
        flag_enabled("new_checkout", user)

if __name__ == "__main__":
    ask(100)
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=ask, args=(500,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_write_down_every_question(
    method: str, database: str, query: Query, tmp_path: Path
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    project = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    environment = os.environ | project | {"PYTHONPATH": str(ROOT)}
    ran = [sys.executable, "-W", "ignore", str(script), method]
    subprocess.run(ran, env=environment, check=True, timeout=60)
    assert counted(query, "new_checkout") == 100 + 2 * 500
    assert query("SELECT count(*), count(stopped_at) FROM flagstaff_usage_worker") == (3, 3)


def test_workers_behind_a_pooler_write_down_every_question(
    database: str, query: Query, server: Postgres
) -> None:
    with PgBouncer(server.port) as pooler, ExitStack() as ends:
        url = at(database, pooler.port)
        workers = [ends.enter_context(Worker(url, USAGE_INTERVAL=1)) for _ in range(WORKERS)]
        assert all(worker.ask("ready", 10) for worker in workers)
        for turn in range(1, 4):
            for worker in workers:
                worker.ask("survey", "new_checkout", 1000)
            asked = turn * WORKERS * 1000
            assert within(20, lambda: counted(query, "new_checkout") == asked)  # noqa: B023
        for worker in workers:
            worker.ask("survey", "new_checkout", 700)
    assert counted(query, "new_checkout") == asked + WORKERS * 700
