"""gunicorn with the worker classes that Django projects use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.app_servers import AppServer, program
from tests.support.sessions import Sessions, within

WORKERS = 3
WORKER_CLASSES = {
    "sync": ["--worker-class=sync"],
    "gthread": ["--worker-class=gthread", "--threads=8"],
    "gevent": ["--worker-class=gevent"],
}
Query = Callable[..., Any]


def gunicorn(database: str, *options: str, **variables: str) -> AppServer:
    # Without keep-alive each request goes to any free worker.
    always = ["--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--keep-alive=0"]
    # gunicorn recommends temporary files in memory for containers.
    always += ["--worker-tmp-dir=/dev/shm", "--no-control-socket"]
    application = "tests.faults.served.wsgi"
    command = [program("gunicorn"), *always, *options, application]
    return AppServer(*command, database=database, **variables)


def change_gateway(query: Query, name: str) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)", name)


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_gunicorn_workers_evaluate_at_once_and_see_changes_over_one_connection_each(
    worker_class: str, database: str, query: Query, sessions: Sessions
) -> None:
    with gunicorn(database, *WORKER_CLASSES[worker_class]) as server:
        server.wait()
        first = server.get_from_each(WORKERS)
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        assert within(2, lambda: sorted(s.owner for s in sessions()) == sorted(first))
        change_gateway(query, "paypal")
        assert server.all_have_value(WORKERS, "paypal")
        assert sorted(s.owner for s in sessions()) == sorted(first)
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_preloaded_gunicorn_workers_connect_anew_after_the_fork(
    worker_class: str, database: str, query: Query, sessions: Sessions
) -> None:
    with gunicorn(
        database, *WORKER_CLASSES[worker_class], "--preload", EVALUATE_AT_IMPORT="1"
    ) as server:
        server.wait()
        [master] = [s for s in sessions() if s.owner == server.pid]
        first = server.get_from_each(WORKERS)
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        pids = sorted([server.pid, *first])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == pids)
        change_gateway(query, "paypal")
        assert server.all_have_value(WORKERS, "paypal")
        assert master in sessions()
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


def test_killed_gunicorn_worker_is_replaced_and_leaves_no_session(
    database: str, sessions: Sessions
) -> None:
    with gunicorn(database, "--preload", EVALUATE_AT_IMPORT="1") as server:
        server.wait()
        [master] = [s for s in sessions() if s.owner == server.pid]
        victim = next(iter(server.get_from_each(WORKERS)))
        os.kill(victim, signal.SIGKILL)
        assert within(5, lambda: victim not in [s.owner for s in sessions()])
        others = server.get_from_each(WORKERS)
        assert victim not in others
        pids = sorted([server.pid, *others])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == pids)
        assert master in sessions()
    assert within(2, lambda: sessions() == [])


def test_reloaded_gunicorn_workers_leave_no_session(database: str, sessions: Sessions) -> None:
    with gunicorn(database) as server:
        server.wait()
        before = server.get_from_each(WORKERS)
        server.send(signal.SIGHUP)
        # A request can time out while no worker is ready.
        assert within(10, lambda: server.get_or_empty().get("pid", 0) not in {0, *before})
        assert within(10, lambda: not set(before) & {s.owner for s in sessions()})
        after = server.get_from_each(WORKERS)
        assert within(2, lambda: sorted(s.owner for s in sessions()) == sorted(after))
    assert within(2, lambda: sessions() == [])


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_gunicorn_exits_at_once_during_changes(
    by: signal.Signals, database: str, query: Query, sessions: Sessions
) -> None:
    server = gunicorn(database, *WORKER_CLASSES["gthread"], "--preload", EVALUATE_AT_IMPORT="1")
    server.wait()
    server.get_from_each(WORKERS)
    for number in range(20):
        change_gateway(query, str(number))
    started = time.monotonic()
    # Signals the master only: a gthread worker that gets the signal twice may deadlock in
    # gunicorn's own handler.
    assert server.end(by) == 0
    # gunicorn's workers check for the stop once a second.
    assert time.monotonic() - started < 1 + 2
    assert within(2, lambda: sessions() == [])
    assert "Fatal" not in server.log()
