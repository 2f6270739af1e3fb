"""Children that are killed at random times."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def run_and_kill(
    work: Callable[[], object], children: int, victims: int, longest: float, chance: random.Random
) -> int:
    """Runs the work in so many children at once, and kills some of them in so many seconds.

    Returns how many were killed; others have ended before.
    """
    wait, start = os.pipe()
    pids = [_fork(work, wait, start) for _ in range(children)]
    os.close(wait)
    os.close(start)
    started = time.monotonic()
    for delay, pid in sorted((chance.uniform(0, longest), pid) for pid in pids[:victims]):
        time.sleep(max(0.0, started + delay - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    assert set(statuses) <= {0, signal.SIGKILL}, statuses
    return statuses.count(signal.SIGKILL)


@contextmanager
def running_beside(work: Callable[[int], object], children: int) -> Iterator[None]:
    """Runs the work in so many children, each with its number, and kills them at the end."""
    pids = []
    for number in range(children):
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                work(number)
            finally:
                os._exit(1)
    try:
        yield
    finally:
        assert [os.waitpid(pid, os.WNOHANG)[0] for pid in pids] == [0] * children
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork(work: Callable[[], object], wait: int, start: int) -> int:
    """Forks a child, which works once every other process has closed the end `start`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(start)
            os.read(wait, 1)
            work()
            status = 0
        finally:
            os._exit(status)
    return pid
