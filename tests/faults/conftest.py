"""What the tests of faults share: servers that may be harmed, and workers beside them."""

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
