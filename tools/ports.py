"""Free ports of the loopback."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle

LOOPBACK = "127.0.0.1"

# Below the ephemeral ranges. An ephemeral port can be taken while its server restarts, even by the
# client that tries to reconnect.
CANDIDATES = range(10_240, 32_768)
# More than the processes of a parallel test run.
_PROCESSES = 16


def free_port() -> int:
    """Returns a free port, which stays free unless a process requests it by its number."""
    return next(port for port in _ports() if is_free(port))


@cache
def _ports() -> Iterator[int]:
    """The ports of this process in random order, none again before all others.

    The port of a server that is about to start, or that is stopped and will start again, is free.
    So each process of a test run has ports of its own.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = CANDIDATES[number % _PROCESSES :: _PROCESSES]
    # Without the seed that pytest gives to all runs of an order.
    return cycle(random.SystemRandom().sample(own, len(own)))


def is_free(port: int) -> bool:
    """Returns True if a server can listen on the port; ignores connections in TIME_WAIT."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
