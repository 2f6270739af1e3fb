"""Sixty workers reconnect at the same time, or are more than the server has connections for."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.engines import Engines
from tests.support.fixtures import Query
from tests.support.repeats import quietest
from tests.support.sessions import within
from tools.postgres import Postgres

COUNT = 60
# At most this share of the connects within this many seconds: about a third on a quiet machine. A
# busy server accepts at once what has queued meanwhile. Without jitter, it would be all of them.
MAX_SHARE, WINDOW = 0.75, 0.1
# Seconds until all are live.
RECOVERED = 5.0
LOGGED = {"log_connections": "on", "log_line_prefix": "%n "}
RECEIVED = re.compile(r"^(\d+\.\d+) LOG:  connection received", re.MULTILINE)
TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'flagstaff %'
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


@pytest.mark.parametrize("fault", ["restarted server", "terminated sessions"])
def test_many_workers_reconnect_soon_but_not_all_at_once(
    fault: str, server: Postgres, engines: Engines, query: Query
) -> None:
    def reconnect() -> dict[str, float]:
        """Returns the greatest share of the connects within one window."""
        before = len(RECEIVED.findall(server.log.read_text()))
        if fault == "restarted server":
            server.restart()
        else:
            assert query(TERMINATE) == (COUNT,)
        engines.until(modes=["live"], known_since=time.time(), within=RECOVERED)
        connects = [float(second) for second in RECEIVED.findall(server.log.read_text())[before:]]
        assert len(connects) >= COUNT
        in_window = [sum(first <= at < first + WINDOW for at in connects) for first in connects]
        return {"gap": max(in_window) / len(connects)}

    assert quietest(reconnect, MAX_SHARE)["gap"] <= MAX_SHARE


ADMITTED = 20
# At most so many attempts in so many seconds.
MAX_ATTEMPTS, SPAN = 5, 10.0
FULL = (
    "connect: the log-in was refused: the role has no connection left, see its CONNECTION LIMIT "
    "(SQLSTATE 53300)"
)


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[str]:
    """The address of the database for a role with few connections."""
    query(
        f"CREATE ROLE shop LOGIN CONNECTION LIMIT {ADMITTED};"
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop"
    )
    yield make_conninfo(database, user="shop")
    query("DROP OWNED BY shop; DROP ROLE shop")


@pytest.mark.timeout(120)
def test_workers_without_a_connection_make_few_attempts_and_connect_when_there_is_room(
    shop: str, query: Query
) -> None:
    with Engines(shop, COUNT) as engines:
        started = time.monotonic()

        def waiting() -> list[dict[str, Any]]:
            return [report for report in engines.reports() if report["mode"] != "live"]

        def have_been_refused() -> bool:
            refused = [report["last_error"] for report in waiting()]
            return refused == [FULL] * (COUNT - ADMITTED)

        time.sleep(SPAN)
        # On a busy machine, the first attempt of some comes later.
        assert within(SPAN, have_been_refused), waiting()
        spans = (time.monotonic() - started) / SPAN
        reports = waiting()
        query("ALTER ROLE shop CONNECTION LIMIT -1")
        engines.are_live(within=60)
    assert {(report["mode"], report["age"]) for report in reports} == {("down", None)}
    assert max(report["failures"] for report in reports) <= MAX_ATTEMPTS * spans
