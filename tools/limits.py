"""Time limits: how long a test or a demo waits for a process, a page or a result.

A wait ends with its event, so a limit only matters where something failed, or where the machine is
slow. All limits grow with one factor: the speed of the machine, measured once for each process,
times the processes that compete for each core: in the last minute, or now if these are more.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["CHILD", "SERVER", "factor", "seconds"]

#: Seconds in which a child process has done its work, on a quiet machine.
CHILD = 60.0
#: Seconds in which a server or a worker responds, starts or ends, on a quiet machine.
SERVER = 10.0

# CPU seconds of `_work` on the machine that the limits are written for.
_REFERENCE = 0.0065


def seconds(limit: float) -> float:
    """Returns the limit for this machine, never a shorter one. Neither blocks nor queries.

    >>> seconds(5) >= 5
    True
    """
    return limit * factor()


def factor() -> float:
    """Returns by how much waits may be longer than on a quiet machine, at least 1."""
    waiting = os.getloadavg()[0]
    # The average of a minute hardly shows that many processes have just started.
    with suppress(OSError):
        waiting = max(waiting, int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]))
    return _slowness() * max(1.0, waiting / (os.cpu_count() or 1))


@cache
def _slowness() -> float:
    """Returns how much slower than the reference a core of this machine is, at least 1."""
    # The fastest of three runs: the first one may pay for a cold cache.
    return max(1.0, min(_work() for _ in range(3)) / _REFERENCE)


def _work() -> float:
    started = time.thread_time()
    total = 0
    for number in range(200_000):
        total += number * number
    return time.thread_time() - started
