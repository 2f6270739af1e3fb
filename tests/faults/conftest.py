"""Fixtures of the fault tests: servers, databases and workers."""

from __future__ import annotations

from tests.postgres.conftest import (
    database,
    empty_database,
    migrated,
    open_to_all,
    query,
    server,
    worker,
)
from tests.sessions import sessions

__all__ = [
    "database",
    "empty_database",
    "migrated",
    "open_to_all",
    "query",
    "server",
    "sessions",
    "worker",
]
