"""More workers than the server has connections: the others retry with growing delays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.engines import Engines
from tests.support.fixtures import Query
from tools.postgres import Postgres

COUNT, LIMIT = 40, 20
# Three connections are reserved for superusers.
ADMITTED = LIMIT - 3
# At most so many attempts in so many seconds.
MAX_ATTEMPTS, SPAN = 5, 10.0
FULL = (
    "connect: the server has no connection left, see its max_connections, "
    "and CONNECTION LIMIT of the role and the database (SQLSTATE 53300)"
)
ROLE = "CREATE ROLE shop LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop"


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[str]:
    """The address of the database for a role that is not a superuser."""
    query(ROLE)
    yield make_conninfo(database, user="shop")
    query("DROP OWNED BY shop; DROP ROLE shop")


@pytest.fixture
def full_server(server: Postgres, query: Query) -> Iterator[Postgres]:
    query(f"ALTER SYSTEM SET max_connections = {LIMIT}")
    server.restart()
    yield server
    query("ALTER SYSTEM RESET max_connections")


def attempts(report: dict[str, Any]) -> int:
    return int(report["failures"]) + int(report["mode"] == "live")


def start_too_many(engines: Engines, admitted: int) -> list[int]:
    """Starts all engines, and returns the attempts of each after SPAN seconds."""
    engines.start(COUNT)
    time.sleep(SPAN)
    reports = engines.reports()
    waiting = [report for report in reports if report["mode"] != "live"]
    assert len(waiting) == COUNT - admitted
    assert {(one["mode"], one["last_error"], one["age"]) for one in waiting} == {
        ("down", FULL, None)
    }
    return sorted(map(attempts, reports))


@pytest.mark.timeout(120)
def test_full_server_gets_few_attempts_and_all_connect_when_it_has_room(
    full_server: Postgres, shop: str, query: Query
) -> None:
    with Engines(shop) as engines:
        made = start_too_many(engines, ADMITTED)
        query("ALTER SYSTEM RESET max_connections")
        full_server.restart()
        engines.are_live(within=60)
    assert made[-1] <= MAX_ATTEMPTS


@pytest.mark.timeout(120)
def test_role_at_its_connection_limit_makes_few_attempts(shop: str, query: Query) -> None:
    query(f"ALTER ROLE shop CONNECTION LIMIT {ADMITTED}")
    with Engines(shop) as engines:
        made = start_too_many(engines, ADMITTED)
        query("ALTER ROLE shop CONNECTION LIMIT -1")
        engines.are_live(within=60)
    assert made[-1] <= MAX_ATTEMPTS
