"""Bursts of changes: few loads, and the last change is evaluated soon after its commit."""

import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import psycopg
import pytest

from tests.support.repeats import repeats
from tests.support.workers import Worker, address
from tools.limits import seconds
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(180)

UPDATES = 1_000
# Seconds between two loads, at least.
GAP = 0.02
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


def most_loads(started: float) -> int:
    """Returns how many loads a burst since that time may need: one per gap, and not one per update.

    So a slow server, whose burst takes longer, causes more of them.
    """
    return 10 + int((time.monotonic() - started) / GAP)


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
    started = time.monotonic()
    last = write_burst(database, "gateway", UPDATES)
    worker.sees(["get_value", "gateway"], UPDATES, within=5)
    seen = worker.ask("followed")
    values = [value for _, value in seen[1:]]
    assert values == sorted(values)
    assert float(seen[-1][0]) - last <= seconds(CONVERGED)
    assert worker.ask("status")["loads"] - before <= most_loads(started)
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
    started = time.monotonic()
    with ThreadPoolExecutor(len(keys)) as writers:
        last = max(writers.map(lambda key: write_burst(database, key, UPDATES // len(keys)), keys))
    for key in keys:
        worker.sees(["get_value", key], UPDATES // len(keys), within=CONVERGED)
    assert time.monotonic() - last <= seconds(CONVERGED + 0.1)
    assert worker.ask("status")["loads"] - before <= most_loads(started)


# One change: another process evaluates it soon after its commit, without a poll.


CHANGES = repeats(500, 100)
# Seconds. `benches.latency` measures the latency, which is about 2 % of this; a poll takes longer.
SOON = 0.1


@pytest.fixture
def shop(database: str) -> str:
    """A database with 200 flags."""
    with psycopg.connect(database) as session:
        session.execute(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)"
            " SELECT 'flag_' || number, true, 50 FROM generate_series(1, 199) AS number"
        )
    return database


@pytest.fixture
def other_load(server: Postgres, shop: str) -> Iterator[None]:
    """Eight clients of the same server that write continuously."""
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("CREATE DATABASE bench")
    pgbench = [str(server.programs / "pgbench"), address(server.url, "bench")]
    subprocess.run([*pgbench, "--initialize", "--scale=2"], check=True, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(
        [*pgbench, "--client=8", "--time=300", "--no-vacuum"], stdout=subprocess.DEVNULL
    )
    try:
        yield
        assert process.poll() is None, "pgbench ended before the test"
    finally:
        process.terminate()
        process.wait()


def latencies(database: str, worker: Worker) -> list[float]:
    """Returns the seconds from the end of each COMMIT to the first result with its change."""
    worker.sees(["get_value", "gateway"], "stripe", within=10)
    worker.ask("follow", ["get_value", "gateway"])
    committed = {}
    with psycopg.connect(database) as session:
        for change in range(CHANGES):
            session.execute("UPDATE flagstaff_keyvaluestore SET value = %s", [str(change)])
            session.commit()
            committed[change] = time.monotonic()
            # Random, so that changes do not coincide with loads.
            time.sleep(random.uniform(0.025, 0.05))
    worker.sees(["get_value", "gateway"], CHANGES - 1, within=10)
    seen = [(at, value) for at, value in worker.ask("followed") if value != "stripe"]
    values = [value for _, value in seen]
    assert values == sorted(values), "an older value follows a newer one"
    return [
        max(0.0, next(at for at, value in seen if value >= change) - commit)
        for change, commit in committed.items()
    ]


def test_change_on_a_busy_server_is_evaluated_soon(shop: str, other_load: None) -> None:
    with Worker(shop) as worker:
        assert median(latencies(shop, worker)) <= seconds(SOON)
