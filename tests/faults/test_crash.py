"""The server crashes under load, and recovers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.workers import Worker
from tools.postgres import Postgres

RATE = 10_000
CRASHES = 5
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


def test_crashes_under_load_change_no_answer(
    server: Postgres, worker: Worker, open_to_all: Callable[[], None]
) -> None:
    worker.ask("call", "tests.faults.reader.begin", RATE)
    took = []
    for _ in range(CRASHES):
        # As "pg_ctl stop -m immediate" does: no session is told, and the next start recovers.
        server._end(signal.SIGQUIT)
        worker.sees(["mode"], "down", within=3)
        server.start()
        ready = time.monotonic()
        worker.sees(["mode"], "live", within=3)
        took.append(time.monotonic() - ready)
        assert worker.ask("status")["age"] <= took[-1] + 0.1
    found = worker.ask("call", "tests.faults.reader.end")
    assert (found["errors"], found["answers"]) == ([], [[True, "stripe"]])
    assert found["questions"] >= 0.9 * RATE * found["seconds"]
    open_to_all()
    worker.sees(NEW_CHECKOUT, True, within=1)
    assert len(worker.ask("logged")) <= 2 * CRASHES
