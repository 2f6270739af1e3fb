"""TRUNCATE empties a table for readers that began before it, too: no load may fall for that."""

from __future__ import annotations

import random

import psycopg
import pytest

from tests.repeats import repeats
from tests.workers import Worker

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
QUESTIONS = [["flag_enabled", "refilled", 1], ["get_value", "refilled"]]


def test_a_thousand_refills_are_never_seen_half_done(database: str) -> None:
    with (
        psycopg.connect(database, autocommit=True) as session,
        Worker(database, POLL_INTERVAL=0.1) as loads,
        Worker(database, POLL_INTERVAL=0.1, LISTEN=False) as polls,
    ):
        session.execute(
            "INSERT INTO auth_user (id, username, password, first_name, last_name, email,"
            " is_superuser, is_staff, is_active, date_joined)"
            " VALUES (1, 'alice', '', '', '', '', false, false, true, now());" + FILL
        )
        before = {}
        for worker, question in zip((loads, polls), QUESTIONS, strict=True):
            assert worker.ask("ready", 10) is True
            worker.ask("refresh")
            before[worker] = worker.ask("status")["loads"]
            worker.ask("watch", question)
        loads.ask("reload_constantly")
        for _ in range(TURNS):
            with session.transaction():
                session.execute(EMPTY)
                # Long enough for a load to choose its moment before the commit.
                session.execute("SELECT pg_sleep(%s)", [random.uniform(0, 0.01)])
                session.execute(FILL)
        assert loads.ask("watched") == [True]
        assert polls.ask("watched") == ["full"]
        for worker, count in before.items():
            status = worker.ask("status")
            assert status["loads"] > count + 10
            assert status["problems"] == []
