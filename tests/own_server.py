"""A server for each of several processes that run tests side by side.

What is global to a server, such as its roles and sessions, is then each process's own. A pytest
plugin, because the settings read the address before any conftest is there.
"""

from __future__ import annotations

import os

from tools.postgres import Postgres

__all__ = ["pytest_unconfigure"]


def _started() -> Postgres | None:
    if "PYTEST_XDIST_WORKER" not in os.environ or os.environ.get("DATABASE_URL"):
        return None
    server = Postgres()
    server.start()
    os.environ["DATABASE_URL"] = server.url
    return server


_server = _started()


def pytest_unconfigure() -> None:
    """Stop it with the last test."""
    if _server is not None:
        _server.close()
