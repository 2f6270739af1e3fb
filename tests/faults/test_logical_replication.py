"""Flag tables that another database fills: by rows, for which no statement trigger fires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.clusters import SEEN, ready
from tests.sessions import within
from tools.postgres import Postgres

Query = Callable[..., Any]
GATEWAY = ["get_value", "gateway"]
SET_GATEWAY = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)"
FLAGS = ["flagstaff_featureflag", "flagstaff_featureflag_allowed_users", "flagstaff_keyvaluestore"]
TOKENS = "flagstaff_token"
# What a change needs on its way from one database to the other.
ARRIVED = 2.0
# Until a new subscription has what was there before.
COPIED = 20.0
COPY_DONE = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"

_numbers = count(1)


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    settings = {
        "wal_level": "logical",
        # The first copy of a table is begun again and again until it has its turn.
        "wal_retrieve_retry_interval": "100ms",
        # The subscriptions of all tests go on until the server ends.
        "max_logical_replication_workers": "20",
        "max_worker_processes": "30",
        "max_replication_slots": "30",
        "max_wal_senders": "30",
    }
    with Postgres(settings=settings) as server:
        yield server


@pytest.fixture
def subscriber(server: Postgres, migrated: str) -> str:
    """The address of a database whose tables are all there, and empty."""
    name = f"subscriber_{next(_numbers)}"
    execute(server.url, f"CREATE DATABASE {name} TEMPLATE {migrated}")
    return make_conninfo(server.url, dbname=name)


def execute(url: str, statement: str, *parameters: object) -> Any:
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(statement, parameters or None)
        return cursor.fetchone() if cursor.description else None


def subscribe(publisher: str, subscriber: str, tables: list[str]) -> None:
    """Have the subscriber's tables follow those of the publisher, with what is there already."""
    name = f"link_{next(_numbers)}"
    execute(publisher, f"CREATE PUBLICATION {name} FOR TABLE {', '.join(tables)}")
    # Of one server with itself, a subscription cannot make its own slot.
    execute(publisher, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    execute(
        subscriber,
        f"CREATE SUBSCRIPTION {name} CONNECTION '{publisher}' PUBLICATION {name} "
        "WITH (create_slot = false)",
    )

    def is_copied() -> bool:
        # A copy begins with the next look at the running transactions, each 15 s or now.
        execute(publisher, "CHECKPOINT")
        return bool(execute(subscriber, COPY_DONE)[0])

    assert within(COPIED, is_copied)


def test_tokens_that_come_along_are_polled(database: str, subscriber: str, query: Query) -> None:
    subscribe(database, subscriber, [*FLAGS, TOKENS])
    with ready(subscriber) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.ask("watch", GATEWAY)
        for turn in range(20):
            query(SET_GATEWAY, f"gateway {turn}")
            worker.sees(GATEWAY, f"gateway {turn}", within=SEEN + ARRIVED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(["flag_enabled", "new_checkout"], True, within=SEEN + ARRIVED)
        status = worker.ask("status")
        assert status["mode"] in {"live", "poll"}
        assert worker.ask("watched") == ["stripe", *[f"gateway {turn}" for turn in range(20)]]


def test_flags_without_tokens_are_loaded_at_each_poll(
    database: str, subscriber: str, query: Query
) -> None:
    subscribe(database, subscriber, FLAGS)
    with ready(subscriber) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.sees(["mode"], "reload", within=SEEN)
        for turn in range(10):
            query(SET_GATEWAY, f"gateway {turn}")
            worker.sees(GATEWAY, f"gateway {turn}", within=SEEN + ARRIVED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(["flag_enabled", "new_checkout"], True, within=SEEN + ARRIVED)
        query("TRUNCATE flagstaff_keyvaluestore")
        worker.sees(GATEWAY, None, within=SEEN + ARRIVED)


def test_subscription_made_beside_a_worker_is_noticed(
    database: str, subscriber: str, query: Query
) -> None:
    with ready(subscriber) as worker:
        worker.sees(["mode"], "live", within=1)
        subscribe(database, subscriber, FLAGS)
        worker.sees(GATEWAY, "stripe", within=COPIED)
        worker.sees(["mode"], "reload", within=SEEN)
        query(SET_GATEWAY, "adyen")
        worker.sees(GATEWAY, "adyen", within=SEEN + ARRIVED)


@pytest.mark.timeout(150)
def test_allow_list_without_tokens_is_loaded_within_a_minute(
    database: str, subscriber: str, query: Query
) -> None:
    subscribe(database, subscriber, FLAGS)
    with ready(subscriber) as worker:
        worker.sees(GATEWAY, "stripe", within=COPIED)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 0")
        worker.sees(["mode"], "reload", within=SEEN)
        worker.sees(["survey", "new_checkout", 3], [], within=SEEN + ARRIVED)
        query(
            "INSERT INTO auth_user (id, username, password, is_superuser, first_name, last_name, "
            "email, is_staff, is_active, date_joined) "
            "VALUES (2, 'alice', '', false, '', '', '', false, true, now())"
        )
        query(
            "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
            "SELECT id, 2 FROM flagstaff_featureflag"
        )
        worker.sees(["survey", "new_checkout", 3], [2], within=66 + ARRIVED)


HISTORY = "flagstaff_change"
REST = """
SELECT
    (SELECT count(*) FROM flagstaff_keyvaluestore),
    (SELECT count(*) FROM flagstaff_featureflag WHERE rollout_percent = 50)
"""
TOLD = """
SELECT array_agg(
    (id, at, relation, object_pk, key, action, old, new, actor, source, reason)::text ORDER BY id
)
FROM flagstaff_change
"""


def test_history_that_comes_along_has_each_change_once_as_it_was(
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
    [expected] = query(TOLD)
    # Two that were new, and the switch; then what was done to one row, to two, to one and to one.
    assert len(expected) == 3 + 1 + 2 + 1 + 1
    assert within(COPIED, lambda: len(execute(subscriber, TOLD)[0] or []) >= len(expected))
    # What came last in the tables is there as well, and has told of nothing itself.
    assert within(COPIED, lambda: execute(subscriber, REST) == (0, 1))
    assert execute(subscriber, TOLD) == (expected,)
