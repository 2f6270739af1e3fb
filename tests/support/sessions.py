"""The connections to a database, read from the server."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tools.limits import seconds

Query = Callable[..., Any]

#: The backends of the last queries of the tests. A backend ends some time after its connection.
own_backends: deque[int] = deque(maxlen=20)


@dataclass(frozen=True, order=True)
class Session:
    """A connection: the backend that serves it, and the process that owns it."""

    backend: int
    owner: int
    name: str = field(compare=False)


Sessions = Callable[[], list[Session]]


@pytest.fixture
def sessions(query: Query) -> Sessions:
    """All connections to the database, except the one that runs this query."""
    statement = (
        "SELECT coalesce(array_agg(pid), '{}'), coalesce(array_agg(application_name), '{}') "
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend' AND pid <> ALL(%s)"
    )

    def list_sessions() -> list[Session]:
        backends = zip(*query(statement, list(own_backends)), strict=True)
        return sorted(Session(backend, _owner(name), name) for backend, name in backends)

    return list_sessions


def _owner(name: str) -> int:
    """The process id in a session's name.

    That of an engine is "flagstaff <table> <pid> <host>". Returns 0 for another session.
    """
    words = name.split()
    match words:
        case ["flagstaff", _, pid, *_]:
            return int(pid)
    return 0


def within(limit: float, condition: Callable[[], object]) -> bool:
    """Waits until the condition is true, and returns False after the limit of a quiet machine.

    Polls, because the server sends no event when a session ends.
    """
    started = time.monotonic()
    while not condition():
        # The machine may have become busy meanwhile.
        if time.monotonic() - started > seconds(limit):
            return False
        time.sleep(0.005)
    return True


def only_session(sessions: Sessions) -> Session:
    """Waits until there is one connection. Those of the pool end some time after their use."""
    assert within(2, lambda: len(sessions()) == 1), sessions()
    [session] = sessions()
    return session
