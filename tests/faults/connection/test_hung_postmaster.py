"""The postmaster hangs: the kernel accepts connections, and the server never responds."""

import operator
import os
import signal
import socket
import time

import pytest

import flagstaff
from flagstaff.exceptions import RefreshError
from tests.support.fixtures import OpenToAll
from tests.support.orphans import resources
from tests.support.proxy import Proxy
from tests.support.sessions import within
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import seconds
from tools.postgres import Postgres

# Seconds.
MAX_ATTEMPT = 3.5


@pytest.mark.smoke
def test_connection_attempt_at_a_hung_server_times_out(
    server: Postgres, database: str, open_to_all: OpenToAll
) -> None:
    with Proxy(database) as proxy, Worker(proxy.url).loaded() as worker:
        before = len(proxy.connections)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            proxy.cut()
            # The loss of the connection, and three attempts.
            worker.sees(["failed", 4], True, within=3 * (MAX_ATTEMPT + 3))
            assert worker.ask("get_value", "gateway") == "stripe"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        resumed = time.monotonic()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=resumed + MAX_ATTEMPT + 3 - time.monotonic())
        assert worker.ask("status")["last_error"] == "connect: the server did not answer in time"
    # The next attempt may have succeeded after the pause, and was used until the end.
    durations = [connection.duration for connection in proxy.connections[before : before + 3]]
    assert max(durations) <= seconds(MAX_ATTEMPT)


def refresh_in_vain(calls: int) -> None:
    """Refreshes; each call fails. Runs in the worker."""
    for _ in range(calls):
        with pytest.raises(RefreshError):
            flagstaff.refresh(0.1)


def test_refresh_at_a_hung_server_leaves_no_thread_and_no_descriptor(silent_url: str) -> None:
    with Worker(silent_url, STARTUP_TIMEOUT=0) as worker:
        worker.call(refresh_in_vain, 1)
        threads, descriptors = resources(worker.pid)
        worker.call(refresh_in_vain, 10)
        # The engine itself may be connecting, and the thread of the last call ending.
        at_most = (threads + 1, descriptors + 2)
        assert within(2, lambda: all(map(operator.le, resources(worker.pid), at_most)))


def test_refresh_at_a_hung_server_ends_with_an_interrupt(
    silent: socket.socket, silent_url: str
) -> None:
    worker = Worker(silent_url, STARTUP_TIMEOUT=0)
    worker.send("refresh", 30)
    # The connections of the engine and of the call.
    accepted = [silent.accept()[0] for _ in range(2)]
    interrupted = time.monotonic()
    _, errors = worker.end(by=signal.SIGINT)
    assert time.monotonic() - interrupted < seconds(5)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for connection in accepted:
        connection.close()
