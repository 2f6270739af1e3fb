"""gevent with all patches: an evaluation blocks only its own greenlet."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import RunIsolated
from tests.support.repeats import quietest

STARTUP_TIMEOUT = 1.0
TICK = 0.01
# Seconds that a busy machine may add; less than another wait for the first load.
MARGIN = 0.9 * STARTUP_TIMEOUT
# Seconds between two turns of a greenlet; less than a wait for the first load.
MAX_GAP = 0.5 * STARTUP_TIMEOUT

SCRIPT = """
from gevent import monkey
monkey.patch_all()
import gevent, json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
from django.conf import settings
settings.FLAGSTAFF = {}
django.setup()
from flagstaff import flag_enabled, get_value, ready, status
# The import at the first evaluation is not measured.
import flagstaff._engine.lifecycle

ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(%(tick)s)
ticking = gevent.spawn(tick)
gevent.sleep(0.05)
started = time.monotonic()
results = gevent.joinall([gevent.spawn(flag_enabled, "new_checkout", 3) for _ in range(20)])
took = time.monotonic() - started
ticking.kill()
gaps = [after - before for before, after in zip(ticks, ticks[1:])]
print(json.dumps({
    "results": [result.value for result in results], "took": took, "gap": max(gaps),
    "mode": status().mode, "again": [flag_enabled("new_checkout", 3), time.monotonic() - started],
}))
"""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"


def test_first_evaluations_without_a_response_do_not_block_other_greenlets(
    black_hole: str, run_isolated: RunIsolated
) -> None:
    script = SCRIPT % {"tick": TICK}
    found = quietest(lambda: json.loads(run_isolated(script, DATABASE_URL=black_hole)), MAX_GAP)
    print(found)
    assert found["results"] == [False] * 20
    assert STARTUP_TIMEOUT <= found["took"] < STARTUP_TIMEOUT + MARGIN
    assert found["gap"] < MAX_GAP
    assert found["again"][0] is False
    assert found["again"][1] - found["took"] < MARGIN


def test_first_evaluations_of_many_greenlets_return_the_flag(
    database: str, open_to_all: object, run_isolated: RunIsolated
) -> None:
    assert callable(open_to_all)
    open_to_all()
    script = SCRIPT % {"tick": TICK}
    found = quietest(lambda: json.loads(run_isolated(script, DATABASE_URL=database)), MAX_GAP)
    print(found)
    assert found["results"] == [True] * 20
    assert found["mode"] == "live"
    assert found["gap"] < MAX_GAP
