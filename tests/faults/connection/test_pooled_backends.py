"""Workers leave no session state on the backends of a pool, which other clients use too."""

import time
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.clusters import SEEN, at, ready
from tests.support.fixtures import OpenToAll, Query
from tests.support.repeats import repeats
from tests.support.workers import NEW_CHECKOUT
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

# The session state on the backend of this transaction that an earlier client may have left.
LEFT_BEHIND = """
    SELECT
        pg_backend_pid(),
        ARRAY(SELECT pg_listening_channels())
        || ARRAY(SELECT name FROM pg_settings WHERE source = 'session' AND NOT name = ANY (%s))
        || ARRAY(SELECT name FROM pg_prepared_statements)
        || ARRAY(
            SELECT objid::text FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
        )
"""
# Set by the pooler for each client.
SET_BY_POOLER = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "standard_conforming_strings",
    "TimeZone",
]


def left_behind(url: str, backends: int) -> dict[int, list[str]]:
    """Returns the session state on each of the pooled backends, by process id."""
    with ExitStack() as stack:
        # Open transactions, so that each uses another backend.
        sessions = [stack.enter_context(psycopg.connect(url)) for _ in range(backends)]
        rows = [session.execute(LEFT_BEHIND, [SET_BY_POOLER]).fetchone() for session in sessions]
        return dict(row for row in rows if row)


def test_session_state_of_other_clients_is_found(server: Postgres, database: str) -> None:
    with PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler:
        url = at(database, pooler.port)
        with psycopg.connect(url, autocommit=True) as careless:
            careless.execute("LISTEN news")
            careless.execute("SET statement_timeout = '1min'")
            careless.execute("PREPARE forty_two AS SELECT 42")
            careless.execute("SELECT pg_advisory_lock(4242)")
        [left] = left_behind(url, backends=1).values()
        assert left == ["news", "statement_timeout", "forty_two", "4242"]


@pytest.mark.timeout(240)
def test_eight_workers_leave_no_session_state_in_a_minute(
    server: Postgres, database: str, pooler: PgBouncer
) -> None:
    url = at(database, pooler.port)
    with ExitStack() as stack:
        workers = [stack.enter_context(ready(url)) for _ in range(8)]
        writer = stack.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=None))
        until, turn = time.monotonic() + repeats(60, 5), 0
        while time.monotonic() < until:
            turn += 1
            writer.execute("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", [turn])
            for worker in workers:
                worker.sees(["get_value", "gateway"], turn, within=SEEN)
            workers[turn % 8].ask("refresh")
        for status in [worker.ask("status") for worker in workers]:
            assert (status["mode"], status["failures"], status["last_error"]) == ("poll", 0, None)
        left = left_behind(url, backends=3)
        assert len(left) == 3
        assert not any(left.values()), left
    left = left_behind(url, backends=4)
    assert len(left) == 4
    assert not any(left.values()), left
    for log in (server.log, pooler.log):
        assert "prepared statement" not in log.read_text()


def test_history_does_not_record_the_application_name_of_a_worker(
    server: Postgres, database: str, query: Query
) -> None:
    with (
        PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler,
        ready(at(database, pooler.port)) as worker,
    ):
        worker.ask("refresh")
        worker.ask("create_enabled_flag", "banner")
        worker.sees(["flag_enabled", "banner"], True, within=SEEN)
        newest = "SELECT application_name FROM flagstaff_change ORDER BY id DESC LIMIT 1"
        assert query(newest) == ("",)


def test_session_pooling_leaves_no_session_state(
    server: Postgres, database: str, open_to_all: OpenToAll
) -> None:
    settings = {"pool_mode": "session", "default_pool_size": "1"}
    with PgBouncer(server.port, settings=settings) as pooler:
        url = at(database, pooler.port)
        with ready(url) as worker:
            worker.sees(["mode"], "poll", within=5)
            open_to_all()
            worker.sees(NEW_CHECKOUT, True, within=SEEN)
        assert list(left_behind(url, backends=1).values()) == [[]]
