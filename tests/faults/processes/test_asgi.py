"""Event loops while the first load is pending, and uvicorn."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import RunIsolated
from tests.faults.app_servers import AppServer, program
from tests.support.repeats import quietest
from tests.support.sessions import Sessions, within

WORKERS = 2
STARTUP_TIMEOUT = 1.0
# Seconds that a busy machine may add; less than another wait for the first load.
MARGIN = 0.9 * STARTUP_TIMEOUT
# Seconds for which an event loop may be blocked; less than a wait for the first load.
MAX_GAP = 0.5 * STARTUP_TIMEOUT
Query = Callable[..., Any]

LOOP = """
import asyncio, json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
from django.conf import settings
settings.FLAGSTAFF = {}
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
    started = time.monotonic()
    results = await asyncio.gather(*(work() for _ in range(20)))
    took = time.monotonic() - started
    await asyncio.sleep(0.02)
    ticking.cancel()
    gap = max(after - before for before, after in zip(ticks, ticks[1:]))
    return {"results": results, "took": took, "gap": gap, "mode": status().mode}
"""
READY = """
async def work():
    return await aready(1)
"""
EVALUATE = """
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
started = time.monotonic()
asyncio.run(main())
print(time.monotonic() - started)
"""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"


def test_aready_without_a_response_does_not_block_the_event_loop(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    script = LOOP + READY + RUN
    found = quietest(lambda: json.loads(run_isolated(script, DATABASE_URL=black_hole)), MAX_GAP)
    print(found)
    assert found["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + MARGIN
    assert found["gap"] < MAX_GAP


def test_first_evaluations_in_an_event_loop_block_it_for_one_startup_timeout(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    found = json.loads(run_isolated(LOOP + EVALUATE + RUN, DATABASE_URL=black_hole))
    print(found)
    assert found["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + MARGIN


def test_cancelled_aready_does_not_delay_the_exit(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    assert float(run_isolated(LOOP + CANCELLED, DATABASE_URL=black_hole)) < 2


def test_ready_returns_after_its_timeout(black_hole: str, run_isolated: RunIsolated) -> None:
    script = """
started = time.monotonic()
print(flagstaff.ready(0.2), time.monotonic() - started)
"""
    ready, took = run_isolated(LOOP + script, DATABASE_URL=black_hole).split()
    assert ready == "False"
    assert 0.2 <= float(took) < 0.2 + MARGIN


def uvicorn(database: str, **variables: str) -> AppServer:
    options = ["--host=127.0.0.1", "--port={port}", f"--workers={WORKERS}", "--no-access-log"]
    command = [program("uvicorn"), *options, "tests.faults.served.asgi:application"]
    return AppServer(*command, database=database, **variables)


def test_uvicorn_workers_evaluate_at_once_and_see_changes_over_one_connection_each(
    database: str, query: Query, sessions: Sessions
) -> None:
    with uvicorn(database) as server:
        server.wait()
        first = server.get_from_each(WORKERS, "/loop")
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        assert max(response["took"] for response in first.values()) < MAX_GAP
        pids = sorted(first)
        assert within(2, lambda: sorted(s.owner for s in sessions()) == pids), sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.all_have_value(WORKERS, "paypal")
        assert sorted(s.owner for s in sessions()) == pids
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_exits_cleanly_on_a_signal(
    by: signal.Signals, database: str, sessions: Sessions
) -> None:
    server = uvicorn(database)
    server.wait()
    server.get_from_each(WORKERS)
    started = time.monotonic()
    status = server.end(by, to_all=by is signal.SIGINT)
    assert time.monotonic() - started < 3
    assert "Fatal" not in server.log()
    assert "Traceback" not in server.log()
    assert status == 0
    assert within(2, lambda: sessions() == [])
