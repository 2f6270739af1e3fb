"""Event loops: what waits for the first load, and what goes on meanwhile."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import RunIsolated
from tests.faults.servers import Server, program
from tests.sessions import Sessions, within

WORKERS = 2
STARTUP_TIMEOUT = 1.0
LATEST = 2 * 0.05
Query = Callable[..., Any]

LOOP = """
import asyncio, json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
import flagstaff, flagstaff._engine.lifecycle
from flagstaff import aready, flag_enabled, status

async def main():
    ticks = []
    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    answers = await asyncio.gather(*(work() for _ in range(20)))
    took = time.monotonic() - begun
    await asyncio.sleep(0.02)
    ticking.cancel()
    gap = max(after - before for before, after in zip(ticks, ticks[1:]))
    return {"answers": answers, "took": took, "gap": gap, "mode": status().mode}
"""
READY = """
async def work():
    return await aready(1)
"""
ASK = """
async def work():
    return flag_enabled("new_checkout", 3)
"""
RUN = """
print(json.dumps(asyncio.run(main())))
"""
CANCELLED = """
async def main():
    waiting = asyncio.create_task(aready(20))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
begun = time.monotonic()
asyncio.run(main())
print(time.monotonic() - begun)
"""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"


def test_waiting_for_the_first_load_of_a_black_hole_lets_the_loop_go_on(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    found = json.loads(run_isolated(LOOP + READY + RUN, DATABASE_URL=black_hole))
    print(found)
    assert found["answers"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + 2 * 0.1
    assert found["gap"] < LATEST


def test_first_questions_in_a_loop_cost_it_the_time_limit_once(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    found = json.loads(run_isolated(LOOP + ASK + RUN, DATABASE_URL=black_hole))
    print(found)
    assert found["answers"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + 2 * 0.1


def test_waiting_that_is_cancelled_holds_up_no_exit(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    assert float(run_isolated(LOOP + CANCELLED, DATABASE_URL=black_hole)) < 2


def test_waiting_for_the_first_load_takes_no_longer_than_it_was_told(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    script = """
begun = time.monotonic()
print(flagstaff.ready(0.2), time.monotonic() - begun)
"""
    ready, took = run_isolated(LOOP + script, DATABASE_URL=black_hole).split()
    assert ready == "False"
    assert 0.2 <= float(took) < 0.2 + 2 * 0.1


def uvicorn(database: str, **variables: str) -> Server:
    options = ["--host=127.0.0.1", "--port={port}", f"--workers={WORKERS}", "--no-access-log"]
    command = [program("uvicorn"), *options, "tests.faults.served.asgi:application"]
    return Server(*command, database=database, **variables)


def test_each_worker_of_uvicorn_answers_at_once_and_sees_a_change_with_one_connection(
    database: str, query: Query, sessions: Sessions
) -> None:
    with uvicorn(database) as server:
        server.wait()
        first = server.from_each(WORKERS, "/loop")
        assert {answer["gateway"] for answer in first.values()} == {"stripe"}
        assert max(answer["took"] for answer in first.values()) < LATEST
        everybody = sorted(first)
        assert within(2, lambda: sorted(s.owner for s in sessions()) == everybody), sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.each_says(WORKERS, "paypal")
        assert sorted(s.owner for s in sessions()) == everybody
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_ends_in_order(by: signal.Signals, database: str, sessions: Sessions) -> None:
    server = uvicorn(database)
    server.wait()
    server.from_each(WORKERS)
    begun = time.monotonic()
    status = server.end(by, to_all=by is signal.SIGINT)
    assert time.monotonic() - begun < 3
    assert "Fatal" not in server.log()
    assert "Traceback" not in server.log()
    assert status == 0
    assert within(2, lambda: sessions() == [])
