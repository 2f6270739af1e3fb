"""The postmaster hangs: the kernel accepts connections, and the server never responds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.faults.proxy import Proxy
from tests.workers import Worker
from tools.postgres import Postgres

# Seconds.
MAX_ATTEMPT = 3.5
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


def test_connection_attempt_at_a_hung_server_times_out(
    server: Postgres, database: str, open_to_all: Callable[[], None]
) -> None:
    with Proxy(database) as proxy, Worker(proxy.url) as worker:
        assert worker.ask("ready", 10) is True
        before = len(proxy.connections)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            proxy.cut()
            # The loss of the connection, and three attempts.
            worker.sees(["failed", 4], True, within=3 * (MAX_ATTEMPT + 3))
            assert worker.ask("get_value", "gateway") == "stripe"
            attempts = proxy.connections[before:]
        finally:
            os.kill(server.pid, signal.SIGCONT)
        resumed = time.monotonic()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=resumed + MAX_ATTEMPT + 3 - time.monotonic())
        assert worker.ask("status")["last_error"] == "connect: the server did not answer in time"
    durations = [one.duration for one in attempts]
    assert len(durations) >= 3
    assert max(durations) <= MAX_ATTEMPT
