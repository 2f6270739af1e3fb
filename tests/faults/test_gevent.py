"""gevent, with everything patched: a question may make its greenlet wait, and no other one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import RunIsolated

STARTUP_TIMEOUT = 1.0
TICK = 0.01
# The loop is due to see every greenlet each 50 ms; a busy machine may take twice as long.
LATEST = 2 * 0.05

SCRIPT = """
from gevent import monkey
monkey.patch_all()
import gevent, json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from flagstaff import flag_enabled, get_value, ready, status
# What the first question imports is not what is measured.
import flagstaff._engine.lifecycle

ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(%(tick)s)
ticking = gevent.spawn(tick)
gevent.sleep(0.05)
begun = time.monotonic()
answers = gevent.joinall([gevent.spawn(flag_enabled, "new_checkout", 3) for _ in range(20)])
took = time.monotonic() - begun
ticking.kill()
gaps = [after - before for before, after in zip(ticks, ticks[1:])]
print(json.dumps({
    "answers": [answer.value for answer in answers], "took": took, "gap": max(gaps),
    "mode": status().mode, "again": [flag_enabled("new_checkout", 3), time.monotonic() - begun],
}))
"""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"


def test_first_questions_at_a_black_hole_wait_once_and_other_greenlets_go_on(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    found = json.loads(run_isolated(SCRIPT % {"tick": TICK}, DATABASE_URL=black_hole))
    print(found)
    assert found["answers"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + 2 * 0.1
    assert found["gap"] < LATEST
    assert found["again"][0] is False
    assert found["again"][1] - found["took"] < 0.1


def test_first_questions_of_many_greenlets_are_answered_from_the_database(
    database: str, open_to_all: object, run_isolated: RunIsolated
) -> None:
    assert callable(open_to_all)
    open_to_all()
    found = json.loads(run_isolated(SCRIPT % {"tick": TICK}, DATABASE_URL=database))
    print(found)
    assert found["answers"] == [True] * 20
    assert found["mode"] == "live"
    assert found["gap"] < LATEST
