"""Sixty workers lose their links at the same moment, and do not come back at the same moment."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.engines import Engines
from tests.postgres.conftest import Query
from tools.postgres import Postgres

COUNT = 60
WINDOW, MOST = 0.1, 0.5
FRESH = 5.0
LOGGED = {"log_connections": "on", "log_line_prefix": "%n "}
RECEIVED = re.compile(r"^(\d+\.\d+) LOG:  connection received", re.MULTILINE)
TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    """A server that writes down when somebody connects."""
    with Postgres(settings=LOGGED) as server:
        yield server


@pytest.fixture
def herd(database: str) -> Iterator[Engines]:
    with Engines(database, COUNT) as engines:
        engines.are_live(within=20)
        yield engines


def restarts(server: Postgres, query: Query) -> None:
    server.restart()


def ends_all_sessions(server: Postgres, query: Query) -> None:
    assert query(TERMINATE) == (COUNT,)


def crowd(times: list[float]) -> int:
    """The most that came within one window."""
    return max(sum(begin <= time < begin + WINDOW for time in times) for begin in times)


@pytest.mark.parametrize("happens", [restarts, ends_all_sessions])
def test_herd_comes_back_soon_and_not_all_at_once(
    happens: Callable[[Postgres, Query], None], server: Postgres, herd: Engines, query: Query
) -> None:
    before = len(RECEIVED.findall(server.log.read_text()))
    happens(server, query)
    ready = time.time()
    herd.until(modes=["live"], known_since=ready, within=FRESH)
    connects = [float(found) for found in RECEIVED.findall(server.log.read_text())[before:]]
    most = crowd(connects)
    assert len(connects) >= COUNT
    assert most <= MOST * len(connects)
