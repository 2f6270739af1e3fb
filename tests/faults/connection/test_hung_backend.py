"""The backend of the engine's session hangs with an open socket."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.support.fixtures import Query
from tests.support.workers import Worker

POLL = 1.0
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
OTHER_SESSION = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_hung_backend_is_replaced_and_blocks_no_evaluation(
    database: str, query: Query, open_to_all: Callable[[], None]
) -> None:
    with Worker(database, POLL_INTERVAL=POLL) as worker:
        assert worker.ask("ready", 10) is True
        [backend] = query(OTHER_SESSION)
        os.kill(backend, signal.SIGSTOP)
        try:
            hung = time.monotonic()
            open_to_all()
            count = "tests.faults.evaluation_load.count_voluntary_switches"
            evaluations, switches = worker.ask("call", count, POLL + 2.5)
            assert evaluations > 100_000
            assert switches == 0
            worker.sees(["failed", 1], True, within=hung + POLL + 2.5 - time.monotonic())
            worker.sees(NEW_CHECKOUT, True, within=3)
            status = worker.ask("status")
            assert status["mode"] == "live"
            assert status["last_error"].endswith(": the server did not answer in time")
        finally:
            os.kill(backend, signal.SIGCONT)
