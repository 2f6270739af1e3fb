"""A migration locks the tables: the workers wait for it and do not block it."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.engines import Engines
from tests.support.fixtures import Query
from tests.support.proxy import Proxy
from tests.support.sessions import within
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import seconds

FLAGS, VALUES = "flagstaff_featureflag", "flagstaff_keyvaluestore"
ALLOWED_USERS = "flagstaff_featureflag_allowed_users"
LOCKED_FOR = 2.0
# Seconds: four lock timeouts of a load. Without that timeout the wait would not end.
MAX_WAIT = 2.0
COUNT = 20
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def migration(database: str) -> Iterator[psycopg.Connection]:
    """A session whose transaction locks tables, as a migration does."""
    with psycopg.connect(database) as session:
        yield session


def lock(session: psycopg.Connection, table: str) -> float:
    """Locks a table and returns the seconds that it took."""
    started = time.monotonic()
    session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    return time.monotonic() - started


def test_worker_waits_for_a_locked_table_on_the_same_connection(
    proxy: Proxy, migration: psycopg.Connection, query: Query
) -> None:
    with Worker(proxy.url).loaded() as worker:
        before = worker.ask("status")
        lock(migration, FLAGS)
        migration.execute(f"UPDATE {FLAGS} SET rollout_percent = 100")
        # The worker is notified of this change and cannot load it.
        locked = time.monotonic()
        query(f"UPDATE {VALUES} SET value = '\"paypal\"'")
        worker.sees(["failed", 2], True, within=5)
        status = worker.ask("status")
        assert status["mode"] == "live"
        assert status["last_error"] == "load: a table is locked by another session (SQLSTATE 55P03)"
        assert worker.ask("get_value", "gateway") == "stripe"
        time.sleep(max(0.0, locked + LOCKED_FOR - time.monotonic()))
        migration.commit()
        took = time.monotonic() - locked
        worker.sees(NEW_CHECKOUT, True, within=1)
        assert worker.ask("get_value", "gateway") == "paypal"
        after = worker.ask("status")
        # The worker opens another one at its end, for its last report.
        assert len(proxy.connections) == 1
    assert after["loads"] <= before["loads"] + 2
    # An attempt waits half a second for the lock, and the next one starts a quarter later.
    assert after["failures"] <= took / 0.75 + 3


def test_migration_that_locks_several_tables_is_not_blocked_by_loads(
    migration: psycopg.Connection, database: str, query: Query
) -> None:
    with Engines(database, COUNT) as engines:
        engines.are_live(within=10)
        lock(migration, VALUES)
        # The loads hold a lock on the flags and wait for the values.
        query(f"UPDATE {FLAGS} SET rollout_percent = 1")
        assert within(5, lambda: query(WAITING) >= (COUNT // 2,))
        waited = [lock(migration, table) for table in (FLAGS, ALLOWED_USERS)]
        migration.rollback()
        engines.until(percent={"new_checkout": 1}, modes=["live"], within=3)
    assert sum(waited) <= seconds(MAX_WAIT)
