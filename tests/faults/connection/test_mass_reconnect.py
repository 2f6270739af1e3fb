"""Sixty workers lose their connections at the same time, and spread their reconnects."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.engines import Engines
from tests.support.fixtures import Query
from tools.postgres import Postgres

COUNT = 60
# At most this share of the connects within this many seconds.
MAX_SHARE, WINDOW = 0.5, 0.1
# Seconds until all are live.
RECOVERED = 5.0
LOGGED = {"log_connections": "on", "log_line_prefix": "%n "}
RECEIVED = re.compile(r"^(\d+\.\d+) LOG:  connection received", re.MULTILINE)
TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    """A server that logs connections with their time."""
    with Postgres(settings=LOGGED) as server:
        yield server


@pytest.fixture
def engines(database: str) -> Iterator[Engines]:
    with Engines(database) as engines:
        # An engine that reconnects before `fault` returns counts from its next poll.
        engines.start(COUNT, poll_interval=1)
        engines.are_live(within=20)
        yield engines


def restart(server: Postgres, query: Query) -> None:
    server.restart()


def terminate_all_sessions(server: Postgres, query: Query) -> None:
    assert query(TERMINATE) == (COUNT,)


def max_in_window(times: list[float]) -> int:
    """Returns the maximum number of connects within one window."""
    return max(sum(start <= time < start + WINDOW for time in times) for start in times)


@pytest.mark.parametrize("fault", [restart, terminate_all_sessions])
def test_many_workers_reconnect_soon_but_not_all_at_once(
    fault: Callable[[Postgres, Query], None], server: Postgres, engines: Engines, query: Query
) -> None:
    before = len(RECEIVED.findall(server.log.read_text()))
    fault(server, query)
    ready = time.time()
    engines.until(modes=["live"], known_since=ready, within=RECOVERED)
    connects = [float(found) for found in RECEIVED.findall(server.log.read_text())[before:]]
    assert len(connects) >= COUNT
    assert max_in_window(connects) <= MAX_SHARE * len(connects)
