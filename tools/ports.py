"""Free ports of the loopback."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the ephemeral ranges. An ephemeral port can be taken while its server restarts, even by the
# client that tries to reconnect.
CANDIDATES = range(10_240, 32_768)
# Without the seed that pytest gives all processes of a run: they would choose the port of a server
# that another one has stopped or is about to start.
_DRAW = random.SystemRandom()


def free_port() -> int:
    """Returns a free port, which stays free unless a process requests it by its number."""
    candidates = _DRAW.sample(CANDIDATES, 100)
    return next(port for port in candidates if is_free(port))


def is_free(port: int) -> bool:
    """Returns True if a server can listen on the port; ignores connections in TIME_WAIT."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
