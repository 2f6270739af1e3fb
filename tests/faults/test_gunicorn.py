"""gunicorn, with each kind of worker that Django projects use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.servers import Server, program
from tests.sessions import Sessions, within

WORKERS = 3
KINDS = {
    "sync": ["--worker-class=sync"],
    "gthread": ["--worker-class=gthread", "--threads=8"],
    "gevent": ["--worker-class=gevent"],
}
Query = Callable[..., Any]


def gunicorn(database: str, *options: str, **variables: str) -> Server:
    # No connection is used twice, so each request meets whichever worker is free.
    always = ["--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--keep-alive=0"]
    # Its files are kept in memory, as its guide has it for containers.
    always += ["--worker-tmp-dir=/dev/shm", "--no-control-socket"]
    application = "tests.faults.served.wsgi"
    command = [program("gunicorn"), *always, *options, application]
    return Server(*command, database=database, **variables)


def change_gateway(query: Query, name: str) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)", name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_worker_answers_at_once_and_sees_a_change_with_one_connection(
    kind: str, database: str, query: Query, sessions: Sessions
) -> None:
    with gunicorn(database, *KINDS[kind]) as server:
        server.wait()
        first = server.from_each(WORKERS)
        assert {answer["gateway"] for answer in first.values()} == {"stripe"}
        assert within(2, lambda: sorted(s.owner for s in sessions()) == sorted(first))
        change_gateway(query, "paypal")
        assert server.each_says(WORKERS, "paypal")
        assert sorted(s.owner for s in sessions()) == sorted(first)
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


@pytest.mark.parametrize("kind", KINDS)
def test_workers_of_a_preloaded_application_that_has_asked_begin_anew(
    kind: str, database: str, query: Query, sessions: Sessions
) -> None:
    with gunicorn(database, *KINDS[kind], "--preload", ASK_EARLY="1") as server:
        server.wait()
        [master] = [s for s in sessions() if s.owner == server.pid]
        first = server.from_each(WORKERS)
        assert {answer["gateway"] for answer in first.values()} == {"stripe"}
        everybody = sorted([server.pid, *first])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == everybody)
        change_gateway(query, "paypal")
        assert server.each_says(WORKERS, "paypal")
        assert master in sessions()
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


def test_worker_that_is_killed_is_replaced_and_leaves_nothing(
    database: str, sessions: Sessions
) -> None:
    with gunicorn(database, "--preload", ASK_EARLY="1") as server:
        server.wait()
        [master] = [s for s in sessions() if s.owner == server.pid]
        victim = next(iter(server.from_each(WORKERS)))
        os.kill(victim, signal.SIGKILL)
        assert within(5, lambda: victim not in [s.owner for s in sessions()])
        others = server.from_each(WORKERS)
        assert victim not in others
        everybody = sorted([server.pid, *others])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == everybody)
        assert master in sessions()
    assert within(2, lambda: sessions() == [])


def test_workers_that_are_reloaded_leave_nothing(database: str, sessions: Sessions) -> None:
    with gunicorn(database) as server:
        server.wait()
        before = server.from_each(WORKERS)
        server.send(signal.SIGHUP)
        assert within(10, lambda: server.get()["pid"] not in before)
        assert within(10, lambda: not set(before) & {s.owner for s in sessions()})
        after = server.from_each(WORKERS)
        assert within(2, lambda: sorted(s.owner for s in sessions()) == sorted(after))
    assert within(2, lambda: sessions() == [])


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_server_ends_at_once_in_the_middle_of_changes(
    by: signal.Signals, database: str, query: Query, sessions: Sessions
) -> None:
    server = gunicorn(database, *KINDS["gthread"], "--preload", ASK_EARLY="1")
    server.wait()
    server.from_each(WORKERS)
    for number in range(20):
        change_gateway(query, str(number))
    begun = time.monotonic()
    # To the master alone: a worker with threads that is told twice may wait for itself, in a
    # handler of gunicorn's own.
    assert server.end(by) == 0
    # Its own workers look up once a second.
    assert time.monotonic() - begun < 1 + 2
    assert within(2, lambda: sessions() == [])
    assert "Fatal" not in server.log()
