"""A pytest plugin that starts a PostgreSQL server for each process of a parallel test run.

Roles and sessions, which are global to a server, then belong to one process. It is a plugin because
the settings read the address before any conftest is loaded.
"""

import os

from tools.postgres import Postgres


def _start() -> Postgres | None:
    if "PYTEST_XDIST_WORKER" not in os.environ or os.environ.get("DATABASE_URL"):
        return None
    server = Postgres()
    server.start()
    os.environ["DATABASE_URL"] = server.url
    return server


_server = _start()


def pytest_unconfigure() -> None:
    """Stops the server after the last test."""
    if _server is not None:
        _server.close()
