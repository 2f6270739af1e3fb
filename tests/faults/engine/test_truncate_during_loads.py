"""TRUNCATE empties a table for older snapshots too; a load must not see that state."""

from __future__ import annotations

import random

import psycopg
import pytest

from tests.support.repeats import repeats
from tests.support.workers import Worker

pytestmark = pytest.mark.timeout(180)

TURNS = repeats(1_000, 250)
FILL = (
    "INSERT INTO flagstaff_featureflag (id, key, enabled) VALUES (77, 'refilled', true);"
    "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) VALUES (77, 1);"
    "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('refilled', '\"full\"');"
)
EMPTY = (
    "TRUNCATE flagstaff_featureflag, flagstaff_featureflag_allowed_users, flagstaff_keyvaluestore"
)
COMMANDS = [["flag_enabled", "refilled", 1], ["get_value", "refilled"]]


def test_truncate_and_refill_in_one_transaction_is_never_seen_half_done(database: str) -> None:
    with (
        psycopg.connect(database, autocommit=True) as session,
        Worker(database, POLL_INTERVAL=0.1) as reloading,
        Worker(database, POLL_INTERVAL=0.1, LISTEN=False) as polling,
    ):
        session.execute(
            "INSERT INTO auth_user (id, username, password, first_name, last_name, email,"
            " is_superuser, is_staff, is_active, date_joined)"
            " VALUES (1, 'alice', '', '', '', '', false, false, true, now());" + FILL
        )
        before = {}
        for worker, command in zip((reloading, polling), COMMANDS, strict=True):
            assert worker.ask("ready", 10) is True
            worker.ask("refresh")
            before[worker] = worker.ask("status")["loads"]
            worker.ask("watch", command)
        reloading.ask("reload_constantly")
        for _ in range(TURNS):
            with session.transaction():
                session.execute(EMPTY)
                # Long enough for a load to start before the commit.
                session.execute("SELECT pg_sleep(%s)", [random.uniform(0, 0.01)])
                session.execute(FILL)
        assert reloading.ask("watched") == [True]
        assert polling.ask("watched") == ["full"]
        for worker, count in before.items():
            status = worker.ask("status")
            assert status["loads"] > count + 10
            assert status["problems"] == []
