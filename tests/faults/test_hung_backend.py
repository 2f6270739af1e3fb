"""The backend of the engine's session is stopped: its socket is open and nobody answers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.postgres.conftest import Query
from tests.workers import Worker

POLL = 1.0
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
OTHER_SESSION = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_backend_that_hangs_is_given_up_and_no_question_waits_for_it(
    database: str, query: Query, open_to_all: Callable[[], None]
) -> None:
    with Worker(database, POLL_INTERVAL=POLL) as worker:
        assert worker.ask("ready", 10) is True
        [backend] = query(OTHER_SESSION)
        os.kill(backend, signal.SIGSTOP)
        try:
            hung = time.monotonic()
            open_to_all()
            worker.send("call", "tests.faults.reader.waits", POLL + 2.5)
            questions, waits = worker.receive()
            assert questions > 100_000
            assert waits == 0
            worker.sees(["failed", 1], True, within=hung + POLL + 2.5 - time.monotonic())
            worker.sees(NEW_CHECKOUT, True, within=3)
            status = worker.ask("status")
            assert status["mode"] == "live"
            assert status["last_error"].endswith(": the server did not answer in time")
        finally:
            os.kill(backend, signal.SIGCONT)
