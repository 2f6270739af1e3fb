"""asyncio and gevent while the first load is pending: an evaluation blocks only its own task."""

import json
from typing import Any

from tests.conftest import RunIsolated
from tests.support.fixtures import OpenToAll
from tests.support.repeats import quietest

STARTUP_TIMEOUT = 3.0
# Seconds that a busy machine may add; less than another wait for the first load.
MARGIN = 0.9 * STARTUP_TIMEOUT
# Seconds for which a loop may be blocked; less than a wait for the first load.
MAX_GAP = 0.5 * STARTUP_TIMEOUT

SET_UP = """
import asyncio, json, os, sys, time
import django
from django.conf import settings
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 3}
django.setup()
# The import at the first evaluation is not measured.
import flagstaff, flagstaff._engine.lifecycle
from flagstaff import aready, flag_enabled, status

def show(ticks, results, started, took):
    gap = max(after - before for before, after in zip(ticks, ticks[1:]))
    report = {"results": results, "took": took, "gap": gap, "mode": status().mode}
    report["again"] = [flag_enabled("new_checkout", 3), time.monotonic() - started]
    print(json.dumps(report))
"""
ASYNCIO = """
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
    show(ticks, results, started, took)
asyncio.run(main())
"""
READY = """
async def work():
    return await aready(3)
"""
EVALUATE = """
async def work():
    return flag_enabled("new_checkout", 3)
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
PATCH = """
from gevent import monkey
monkey.patch_all()
import gevent
"""
GREENLETS = """
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
ticking = gevent.spawn(tick)
gevent.sleep(0.05)
started = time.monotonic()
results = gevent.joinall([gevent.spawn(flag_enabled, "new_checkout", 3) for _ in range(20)])
took = time.monotonic() - started
ticking.kill()
show(ticks, [result.value for result in results], started, took)
"""


def measured(run_isolated: RunIsolated, database: str, *parts: str) -> dict[str, Any]:
    """Returns what a script shows."""
    shown: dict[str, Any] = quietest(
        lambda: json.loads(run_isolated("".join(parts), DATABASE_URL=database)), MAX_GAP
    )
    print(shown)
    return shown


def test_aready_without_a_response_does_not_block_the_event_loop(
    silent_url: str, run_isolated: RunIsolated
) -> None:
    shown = measured(run_isolated, silent_url, SET_UP, READY, ASYNCIO)
    assert shown["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= shown["took"] < STARTUP_TIMEOUT + MARGIN
    assert shown["gap"] < MAX_GAP


def test_first_evaluations_in_an_event_loop_block_it_for_one_startup_timeout(
    silent_url: str, run_isolated: RunIsolated
) -> None:
    shown = json.loads(run_isolated(SET_UP + EVALUATE + ASYNCIO, DATABASE_URL=silent_url))
    print(shown)
    assert shown["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= shown["took"] < STARTUP_TIMEOUT + MARGIN


def test_cancelled_aready_does_not_delay_the_exit(
    silent_url: str, run_isolated: RunIsolated
) -> None:
    assert float(run_isolated(SET_UP + CANCELLED, DATABASE_URL=silent_url)) < 10


def test_ready_returns_after_its_timeout(silent_url: str, run_isolated: RunIsolated) -> None:
    script = """
started = time.monotonic()
print(flagstaff.ready(0.2), time.monotonic() - started)
"""
    ready, took = run_isolated(SET_UP + script, DATABASE_URL=silent_url).split()
    assert ready == "False"
    assert 0.2 <= float(took) < 0.2 + MARGIN


def test_first_evaluations_without_a_response_do_not_block_other_greenlets(
    silent_url: str, run_isolated: RunIsolated
) -> None:
    shown = measured(run_isolated, silent_url, PATCH, SET_UP, GREENLETS)
    assert shown["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= shown["took"] < STARTUP_TIMEOUT + MARGIN
    assert shown["gap"] < MAX_GAP
    assert shown["again"][0] is False
    assert shown["again"][1] - shown["took"] < MARGIN


def test_first_evaluations_of_many_greenlets_return_the_flag(
    database: str, open_to_all: OpenToAll, run_isolated: RunIsolated
) -> None:
    open_to_all()
    shown = measured(run_isolated, database, PATCH, SET_UP, GREENLETS)
    assert shown["results"] == [True] * 20
    assert shown["mode"] == "live"
    assert shown["gap"] < MAX_GAP
