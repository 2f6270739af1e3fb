"""A loop that a signal stops."""

import signal
import subprocess
import sys

import pytest

from flagstaff.cli.verbs.jobs import stop_on_signals

TIMES = 500
# Another process: signals from a thread of this one do not interrupt the main thread.
SENDER = """
import os, random, sys, time
for number in sys.stdin:
    time.sleep(random.uniform(0, 0.001))
    os.kill(os.getppid(), int(number))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_sets_the_event_at_any_time(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SENDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as sender:
        assert sender.stdin
        for _ in range(TIMES):
            with stop_on_signals() as stop:
                print(int(number), file=sender.stdin, flush=True)
                while not stop.is_set():
                    stop.wait(0.00001)


def test_wait_ends_after_the_signal_or_the_timeout_and_restores_the_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        assert stop.wait(0) is False
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait() is True
        assert stop.wait() is True
    assert signal.getsignal(signal.SIGTERM) == before
