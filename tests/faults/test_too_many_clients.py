"""More workers than the server takes: who is turned away waits, and knocks ever more rarely."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.engines import Engines
from tests.postgres.conftest import Query
from tools.postgres import Postgres

COUNT, LIMIT = 40, 20
# The server keeps three for its administrators.
ADMITTED = LIMIT - 3
MOST_TRIES, SPAN = 5, 10.0
FULL = (
    "connect: the server has no connection left, see its max_connections, "
    "and CONNECTION LIMIT of the role and the database (SQLSTATE 53300)"
)
ROLE = "CREATE ROLE shop LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop"


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[str]:
    """The address of the database for a role that is no administrator."""
    query(ROLE)
    yield make_conninfo(database, user="shop")
    query("DROP OWNED BY shop; DROP ROLE shop")


@pytest.fixture
def full_server(server: Postgres, query: Query) -> Iterator[Postgres]:
    query(f"ALTER SYSTEM SET max_connections = {LIMIT}")
    server.restart()
    yield server
    query("ALTER SYSTEM RESET max_connections")


def tries(report: dict[str, Any]) -> int:
    return int(report["failures"]) + int(report["mode"] == "live")


def knock(engines: Engines, admitted: int) -> list[int]:
    """Start them all, and say how often each has tried after a while."""
    engines.start(COUNT)
    time.sleep(SPAN)
    reports = engines.reports()
    outside = [report for report in reports if report["mode"] != "live"]
    assert len(outside) == COUNT - admitted
    assert {(one["mode"], one["last_error"], one["age"]) for one in outside} == {
        ("down", FULL, None)
    }
    return sorted(map(tries, reports))


@pytest.mark.timeout(120)
def test_full_server_is_tried_rarely_and_all_come_in_once_there_is_room(
    full_server: Postgres, shop: str, query: Query
) -> None:
    with Engines(shop) as engines:
        tried = knock(engines, ADMITTED)
        query("ALTER SYSTEM RESET max_connections")
        full_server.restart()
        engines.are_live(within=60)
    assert tried[-1] <= MOST_TRIES


@pytest.mark.timeout(120)
def test_role_with_a_limit_leaves_the_others_their_connections(shop: str, query: Query) -> None:
    query(f"ALTER ROLE shop CONNECTION LIMIT {ADMITTED}")
    with Engines(shop) as engines:
        tried = knock(engines, ADMITTED)
        query("ALTER ROLE shop CONNECTION LIMIT -1")
        engines.are_live(within=60)
    assert tried[-1] <= MOST_TRIES
