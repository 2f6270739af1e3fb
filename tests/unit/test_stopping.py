"""A loop that is told to end by a signal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from flagstaff.cli.stopping import until_told_to_end

TIMES = 500
# Another process, for a thread of this one signals only where the main thread does nothing.
SENDER = """
import os, random, sys, time
for number in sys.stdin:
    time.sleep(random.uniform(0, 0.001))
    os.kill(os.getppid(), int(number))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_heard_at_whatever_moment_it_comes(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SENDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as sender:
        assert sender.stdin
        for _ in range(TIMES):
            with until_told_to_end() as stop:
                print(int(number), file=sender.stdin, flush=True)
                while not stop.is_set():
                    stop.wait(0.00001)


def test_wait_is_over_when_it_is_told_or_has_been_long_enough() -> None:
    with until_told_to_end() as stop:
        assert stop.wait(0) is False
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait() is True
        assert stop.wait() is True


def test_handlers_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with until_told_to_end():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
