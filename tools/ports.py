"""Ports of the loopback that nobody uses."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the ranges from which systems number outgoing connections. A port inside them can be given
# away while its server restarts, even to the very client that tries to reach it again.
CANDIDATES = range(10_240, 32_768)


def free_port() -> int:
    """Return a port that is free, and stays so unless somebody asks for it by its number."""
    candidates = random.sample(CANDIDATES, 100)
    return next(port for port in candidates if is_free(port))


def is_free(port: int) -> bool:
    """Tell whether a server could listen here, closed connections of the past aside."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
