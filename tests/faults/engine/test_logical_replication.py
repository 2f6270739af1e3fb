"""Flag tables filled by logical replication, for which statement triggers do not fire."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.clusters import SEEN, ready
from tests.support.fixtures import Query, SetGateway, execute
from tests.support.named_rows import reads_named_rows_only
from tests.support.sessions import within
from tests.support.workers import GATEWAY
from tools.postgres import Postgres

FLAGS = ["flagstaff_featureflag", "flagstaff_featureflag_allowed_users", "flagstaff_keyvaluestore"]
TOKENS = "flagstaff_token"
# Seconds for a change to reach the subscriber.
REPLICATED = 2.0
# Seconds for a new subscription to copy the existing rows.
COPIED = 20.0
COPY_DONE = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"

_numbers = count(1)


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    settings = {
        "wal_level": "logical",
        # Retries the first copy of a table soon.
        "wal_retrieve_retry_interval": "100ms",
        # The subscriptions of all tests run until the server stops.
        "max_logical_replication_workers": "20",
        "max_worker_processes": "30",
        "max_replication_slots": "30",
        "max_wal_senders": "30",
    }
    with Postgres(settings=settings) as server:
        yield server


@pytest.fixture
def subscriber(server: Postgres, migrated: str) -> str:
    """The address of a migrated database without rows."""
    name = f"subscriber_{next(_numbers)}"
    execute(server.url, f"CREATE DATABASE {name} TEMPLATE {migrated}")
    return make_conninfo(server.url, dbname=name)


def subscribe(publisher: str, subscriber: str, tables: list[str]) -> None:
    """Replicates tables from the publisher to the subscriber. Waits until the rows are copied."""
    name = f"link_{next(_numbers)}"
    execute(publisher, f"CREATE PUBLICATION {name} FOR TABLE {', '.join(tables)}")
    # Within one server CREATE SUBSCRIPTION cannot create its own slot.
    execute(publisher, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    execute(
        subscriber,
        f"CREATE SUBSCRIPTION {name} CONNECTION '{publisher}' PUBLICATION {name} "
        "WITH (create_slot = false)",
    )

    def is_copied() -> bool:
        # A copy starts when the running transactions are logged: every 15 s, or at a checkpoint.
        execute(publisher, "CHECKPOINT")
        return bool(execute(subscriber, COPY_DONE)[0])

    assert within(COPIED, is_copied)


def test_worker_with_replicated_tokens_polls_them(
    database: str, subscriber: str, query: Query, set_gateway: SetGateway
) -> None:
    subscribe(database, subscriber, [*FLAGS, TOKENS])
    with ready(subscriber) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.ask("watch", GATEWAY)
        for turn in range(20):
            set_gateway(f"gateway {turn}")
            worker.sees(GATEWAY, f"gateway {turn}", within=SEEN + REPLICATED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(["flag_enabled", "new_checkout"], True, within=SEEN + REPLICATED)
        status = worker.ask("status")
        assert status["mode"] in {"live", "poll"}
        assert worker.ask("watched") == ["stripe", *[f"gateway {turn}" for turn in range(20)]]


def test_worker_with_replicated_tokens_reads_whole_tables(
    database: str, subscriber: str, query: Query
) -> None:
    subscribe(database, subscriber, [*FLAGS, TOKENS])
    with ready(subscriber) as worker:
        # The numbers of the publisher's transactions mean nothing here.
        assert not reads_named_rows_only(worker, query, within=COPIED)


def test_worker_without_replicated_tokens_loads_at_each_poll(
    database: str, subscriber: str, query: Query, set_gateway: SetGateway
) -> None:
    subscribe(database, subscriber, FLAGS)
    with ready(subscriber) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.sees(["mode"], "reload", within=SEEN)
        for turn in range(10):
            set_gateway(f"gateway {turn}")
            worker.sees(GATEWAY, f"gateway {turn}", within=SEEN + REPLICATED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(["flag_enabled", "new_checkout"], True, within=SEEN + REPLICATED)
        query("TRUNCATE flagstaff_keyvaluestore")
        worker.sees(GATEWAY, None, within=SEEN + REPLICATED)


def test_subscription_created_while_a_worker_runs_is_detected(
    database: str, subscriber: str, set_gateway: SetGateway
) -> None:
    with ready(subscriber) as worker:
        worker.sees(["mode"], "live", within=5)
        subscribe(database, subscriber, FLAGS)
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.sees(["mode"], "reload", within=SEEN)
        set_gateway("adyen")
        worker.sees(GATEWAY, "adyen", within=SEEN + REPLICATED)


HISTORY = "flagstaff_change"
STATE = """
SELECT
    (SELECT count(*) FROM flagstaff_keyvaluestore),
    (SELECT count(*) FROM flagstaff_featureflag WHERE rollout_percent = 50)
"""
ENTRIES = """
SELECT array_agg(
    (id, at, relation, object_pk, key, action, old, new, actor, source, reason)::text ORDER BY id
)
FROM flagstaff_change
"""


def test_replicated_history_has_each_entry_once_and_unchanged(
    database: str, subscriber: str, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET enabled = false")
    subscribe(database, subscriber, [*FLAGS, TOKENS, HISTORY])
    for statement in (
        "INSERT INTO flagstaff_featureflag (key) VALUES ('banner')",
        """
        BEGIN;
        SET LOCAL flagstaff.actor = '7';
        UPDATE flagstaff_featureflag SET rollout_percent = 50;
        COMMIT
        """,
        "DELETE FROM flagstaff_featureflag WHERE key = 'banner'",
        "TRUNCATE flagstaff_keyvaluestore",
    ):
        query(statement)
    [expected] = query(ENTRIES)
    # The fixture's two rows and the first update; then the four statements.
    assert len(expected) == 3 + 1 + 2 + 1 + 1
    assert within(COPIED, lambda: len(execute(subscriber, ENTRIES)[0] or []) >= len(expected))
    # The last rows have arrived too, and their replication has written no entries.
    assert within(COPIED, lambda: execute(subscriber, STATE) == (0, 1))
    assert execute(subscriber, ENTRIES) == (expected,)
