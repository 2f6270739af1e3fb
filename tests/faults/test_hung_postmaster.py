"""The server takes connections, as the kernel does for it, and never says a word."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.faults.proxy import Proxy
from tests.workers import Worker
from tools.postgres import Postgres

LONGEST_TRY = 3.5
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


def test_each_try_at_a_server_that_hangs_is_given_up(
    server: Postgres, database: str, open_to_all: Callable[[], None]
) -> None:
    with Proxy(database) as proxy, Worker(proxy.url) as worker:
        assert worker.ask("ready", 10) is True
        loaded = len(proxy.tries)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            proxy.cut()
            # The loss of the link, and three tries.
            worker.sees(["failed", 4], True, within=3 * (LONGEST_TRY + 3))
            assert worker.ask("get_value", "gateway") == "stripe"
            tries = proxy.tries[loaded:]
        finally:
            os.kill(server.pid, signal.SIGCONT)
        answers_again = time.monotonic()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=answers_again + LONGEST_TRY + 3 - time.monotonic())
        assert worker.ask("status")["last_error"] == "connect: the server did not answer in time"
    lasted = [one.lasted for one in tries]
    assert len(lasted) >= 3
    assert max(lasted) <= LONGEST_TRY
