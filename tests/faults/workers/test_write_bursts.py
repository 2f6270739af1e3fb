"""Bursts of changes: few loads, and the last change is evaluated soon after its commit."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.workers import Worker
from tools.limits import seconds

pytestmark = pytest.mark.timeout(180)

UPDATES = 1_000
MAX_LOADS = 60
# Seconds after the last commit: 200 ms on an idle machine.
CONVERGED = 0.2 * 2
# One transaction per update, as fast as the server can.
BURST = """
    DO $$ BEGIN
        FOR number IN 1..{updates} LOOP
            UPDATE flagstaff_keyvaluestore SET value = to_jsonb(number) WHERE key = '{key}';
            COMMIT;
        END LOOP;
    END $$
"""


def write_burst(database: str, key: str, updates: int) -> float:
    """Updates a value repeatedly, and returns the time after the last commit."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(BURST.format(key=key, updates=updates))
        return time.monotonic()


def test_burst_of_a_thousand_updates_needs_few_loads_and_is_seen_soon(
    database: str, worker: Worker
) -> None:
    before = worker.ask("status")["loads"]
    worker.ask("follow", ["get_value", "gateway"])
    last = write_burst(database, "gateway", UPDATES)
    worker.sees(["get_value", "gateway"], UPDATES, within=5)
    seen = worker.ask("followed")
    values = [value for _, value in seen[1:]]
    assert values == sorted(values)
    assert float(seen[-1][0]) - last <= seconds(CONVERGED)
    assert worker.ask("status")["loads"] - before <= MAX_LOADS
    # The next change is seen as soon.
    write_burst(database, "gateway", 1)
    worker.sees(["get_value", "gateway"], 1, within=CONVERGED)


def test_burst_by_four_writers_needs_few_loads(database: str, worker: Worker) -> None:
    keys = ["gateway", "one", "two", "three"]
    with psycopg.connect(database) as session:
        for key in keys[1:]:
            session.execute(
                "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, '0')", [key]
            )
    worker.sees(["get_value", "three"], 0, within=5)
    before = worker.ask("status")["loads"]
    with ThreadPoolExecutor(len(keys)) as writers:
        last = max(writers.map(lambda key: write_burst(database, key, UPDATES // len(keys)), keys))
    for key in keys:
        worker.sees(["get_value", key], UPDATES // len(keys), within=CONVERGED)
    assert time.monotonic() - last <= seconds(CONVERGED + 0.1)
    assert worker.ask("status")["loads"] - before <= MAX_LOADS
