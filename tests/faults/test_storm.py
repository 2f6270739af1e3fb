"""Many changes at once: few loads, and the last word soon after the last commit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.workers import Worker

pytestmark = pytest.mark.timeout(180)

UPDATES = 1_000
MOST_LOADS = 60
# 200 ms are wanted of a machine that has nothing else to do.
CONVERGED = 0.2 * 2
# A transaction for each, as quickly as the server can.
STORM = """
    DO $$ BEGIN
        FOR number IN 1..{updates} LOOP
            UPDATE flagstaff_keyvaluestore SET value = to_jsonb(number) WHERE key = '{key}';
            COMMIT;
        END LOOP;
    END $$
"""


def storm(database: str, key: str, updates: int) -> float:
    """Update as often; the moment after the last commit."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(STORM.format(key=key, updates=updates))
        return time.monotonic()


def seconds_until_seen(worker: Worker, answer: int, moment: float) -> float:
    """How long after the moment the answer added, by what was followed."""
    worker.sees(["get_value", "gateway"], answer, within=5)
    seen = worker.ask("followed")
    assert [found for _, found in seen[1:]] == sorted(found for _, found in seen[1:])
    return float(seen[-1][0]) - moment


def test_a_thousand_updates_cost_few_loads_and_are_seen_at_once(
    database: str, worker: Worker
) -> None:
    before = worker.ask("status")["loads"]
    worker.ask("follow", ["get_value", "gateway"])
    last = storm(database, "gateway", UPDATES)
    assert seconds_until_seen(worker, UPDATES, last) <= CONVERGED
    assert worker.ask("status")["loads"] - before <= MOST_LOADS


def test_four_writers_at_once_cost_few_loads(database: str, worker: Worker) -> None:
    keys = ["gateway", "one", "two", "three"]
    with psycopg.connect(database) as session:
        for key in keys[1:]:
            session.execute(
                "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, '0')", [key]
            )
    worker.sees(["get_value", "three"], 0, within=1)
    before = worker.ask("status")["loads"]
    with ThreadPoolExecutor(len(keys)) as writers:
        last = max(writers.map(lambda key: storm(database, key, UPDATES // len(keys)), keys))
    for key in keys:
        worker.sees(["get_value", key], UPDATES // len(keys), within=CONVERGED)
    assert time.monotonic() - last <= CONVERGED + 0.1
    assert worker.ask("status")["loads"] - before <= MOST_LOADS


def test_a_change_after_a_storm_is_seen_as_quickly_as_ever(database: str, worker: Worker) -> None:
    storm(database, "gateway", UPDATES)
    worker.sees(["get_value", "gateway"], UPDATES, within=1)
    with psycopg.connect(database) as session:
        session.execute("UPDATE flagstaff_keyvaluestore SET value = '0'")
    worker.sees(["get_value", "gateway"], 0, within=CONVERGED)
