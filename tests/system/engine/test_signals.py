"""A signal ends each wait, also if another thread than the main one takes it."""

import pytest

from tests.conftest import RunIsolated
from tools.limits import seconds

# Seconds of a wait that no signal ends.
LIMIT = 60
SCRIPT = """
import os, signal, socket, threading, time
silent = socket.create_server(("127.0.0.1", 0))
os.environ.setdefault("DATABASE_URL", f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags")
import django
django.setup()
from django.conf import settings
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": %(startup)s}
import flagstaff
def take_signal():
    %(event)s
    signal.raise_signal(signal.%(signal)s)
signal.signal(signal.SIGTERM, signal.default_int_handler)
threading.Thread(target=take_signal).start()
began = time.monotonic()
try:
    %(wait)s
except KeyboardInterrupt:
    print(time.monotonic() - began, flush=True)
    # The threads of the engine still wait for the server.
    os._exit(0)
"""
# What waits, the signal that ends it, and the time limit of the first load.
WAITS = {
    "ready": (f"flagstaff.ready({LIMIT})", "SIGTERM", 0),
    "first evaluation": ("flagstaff.flag_enabled('new_checkout')", "SIGINT", LIMIT),
    "refresh before the first load": (f"flagstaff.refresh({LIMIT})", "SIGTERM", LIMIT),
    "refresh": (f"flagstaff.refresh({LIMIT})", "SIGINT", 0),
}


@pytest.mark.parametrize(("wait", "signal", "startup"), WAITS.values(), ids=WAITS)
def test_wait_for_a_silent_server_ends_with_a_signal_of_another_thread(
    wait: str,
    signal: str,
    startup: float,
    run_isolated: RunIsolated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    event = "connection = silent.accept()"
    script = SCRIPT % {"wait": wait, "signal": signal, "startup": startup, "event": event}
    assert float(run_isolated(script)) < seconds(LIMIT / 10)


def test_wait_for_workers_ends_with_a_signal_of_another_thread(
    database: str, run_isolated: RunIsolated
) -> None:
    wait = f"flagstaff.wait_for_workers({LIMIT}, expect=9)"
    # The wait lists the workers first, over its own connection.
    event = (
        "from flagstaff._workers import wait; read = wait.read_workers; "
        "listed = threading.Event(); "
        "wait.read_workers = lambda *arguments: (listed.set(), read(*arguments))[1]; listed.wait()"
    )
    script = SCRIPT % {"wait": wait, "signal": "SIGINT", "startup": 0, "event": event}
    assert float(run_isolated(script, DATABASE_URL=database)) < seconds(LIMIT / 10)
