"""The server crashes while workers evaluate, and recovers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.support.workers import Worker
from tools.postgres import Postgres

RATE = 10_000
CRASHES = 5
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


def test_server_crashes_change_no_result(
    server: Postgres, worker: Worker, open_to_all: Callable[[], None]
) -> None:
    worker.ask("call", "tests.faults.evaluation_load.start", RATE)
    took = []
    for _ in range(CRASHES):
        # As "pg_ctl stop -m immediate": sessions get no message, and the next start recovers.
        server._end(signal.SIGQUIT)
        worker.sees(["mode"], "down", within=3)
        server.start()
        ready = time.monotonic()
        worker.sees(["mode"], "live", within=3)
        took.append(time.monotonic() - ready)
        assert worker.ask("status")["age"] <= took[-1] + 0.1
    found = worker.ask("call", "tests.faults.evaluation_load.stop")
    assert (found["errors"], found["results"]) == ([], [[True, "stripe"]])
    assert found["evaluations"] >= 0.9 * RATE * found["seconds"]
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    assert len(worker.ask("logged")) <= 2 * CRASHES
