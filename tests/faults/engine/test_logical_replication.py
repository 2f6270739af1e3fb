"""Flag tables filled by logical replication, for which statement triggers do not fire."""

from collections.abc import Iterator
from itertools import count

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.clusters import COPIED, FLAGS, SEEN, TOKENS, is_copied, ready, subscribe
from tests.support.fixtures import Query, SetGateway, execute
from tests.support.named_rows import reads_named_rows_only
from tests.support.sessions import within
from tests.support.workers import GATEWAY
from tools.postgres import Postgres

# Seconds for a change to reach the subscriber.
REPLICATED = 2.0

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


@pytest.mark.smoke
def test_worker_with_replicated_tokens_is_notified_of_them(
    database: str, subscriber: str, query: Query, set_gateway: SetGateway
) -> None:
    subscribe(database, subscriber, [*FLAGS, TOKENS])
    with ready(subscriber, POLL_INTERVAL=60) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.sees(["mode"], "live", within=SEEN)
        worker.ask("watch", GATEWAY)
        for turn in range(20):
            set_gateway(f"gateway {turn}")
            worker.sees(GATEWAY, f"gateway {turn}", within=SEEN + REPLICATED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(["flag_enabled", "new_checkout"], True, within=SEEN + REPLICATED)
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


def test_mode_says_what_the_subscriptions_lack(database: str, subscriber: str) -> None:
    subscribe(database, subscriber, [*FLAGS[1:], TOKENS], name="tokens")
    with ready(subscriber) as worker:
        steps = [
            (None, "reload", "the subscription with flagstaff_token lacks other tables"),
            ("ADD", "live", None),
            ("DISABLE", "reload", "the subscription tokens is disabled"),
            ("ENABLE", "live", None),
            (None, "poll", "flagstaff_token has no trigger that notifies"),
        ]
        for step, mode, reason in steps:
            if step == "ADD":
                execute(database, f"ALTER PUBLICATION tokens ADD TABLE {FLAGS[0]}")
                execute(subscriber, "ALTER SUBSCRIPTION tokens REFRESH PUBLICATION")
                assert within(COPIED, lambda: is_copied(database, subscriber))
            elif step:
                execute(subscriber, f"ALTER SUBSCRIPTION tokens {step}")
            elif mode == "poll":
                execute(subscriber, f"ALTER TABLE {TOKENS} DISABLE TRIGGER flagstaff_arrived_v1")
            worker.sees(["mode"], mode, within=SEEN)
            said = worker.ask("field", "mode_reason")
            assert said is None if reason is None else reason in said


def test_flags_in_another_subscription_are_loaded_at_each_poll(
    database: str, subscriber: str, set_gateway: SetGateway
) -> None:
    subscribe(database, subscriber, FLAGS, name="flags")
    subscribe(database, subscriber, [TOKENS], name="only_tokens")
    execute(subscriber, "ALTER SUBSCRIPTION flags DISABLE")
    with ready(subscriber) as worker:
        worker.sees(["mode"], "reload", within=SEEN)
        assert FLAGS[0] in worker.ask("field", "mode_reason")
        set_gateway("adyen")
        execute(subscriber, "ALTER SUBSCRIPTION flags ENABLE")
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
