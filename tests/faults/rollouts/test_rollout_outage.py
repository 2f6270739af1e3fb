"""The database is down when a step of a rollout plan is due."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.fixtures import Query
from tests.support.repeats import repeats
from tools.postgres import Postgres

OUTAGE = repeats(180, 3)
STEPS = ["--step", "5:1h", "--step", "25:1h", "--step", "100:1h"]
RUNS = "SELECT last_run_at FROM flagstaff_rollouts_driverrun"
PLAN = "SELECT step, state, due_at - clock_timestamp() FROM flagstaff_rollouts_plan"
SEEN = """
INSERT INTO flagstaff_rollouts_seenregister (run_id, inside, register, rank)
SELECT run_id, inside, register, 1 FROM flagstaff_rollouts_plan,
unnest(ARRAY[true, false]) AS inside, generate_series(0, 4095) AS register RETURNING true
"""
REQUESTS = """
INSERT INTO flagstaff_rollouts_signalcount (run_id, inside, kind, number, count)
SELECT run_id, inside, 'r', 0, 5000 FROM flagstaff_rollouts_plan,
unnest(ARRAY[true, false]) AS inside RETURNING true
"""


def manage(database: str, *arguments: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.manage_with", "flags", *arguments],
        cwd=ROOT,
        env=environment(database),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


def environment(database: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database, "FLAGSTAFF": "{}"}


@contextmanager
def driver(database: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.manage_with", "flags", "run-jobs", "--loop", "0.1"],
        cwd=ROOT,
        env=environment(database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def wait_until(holds: Callable[[], Any], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_run(query: Query) -> None:
    """Waits until the driver has run once more."""
    before = query(RUNS)
    wait_until(lambda: query(RUNS) != before)


@pytest.mark.timeout(OUTAGE + 120)
def test_step_is_made_once_and_with_its_full_dwell_time_after_an_outage(
    server: Postgres, database: str, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0 RETURNING id")
    manage(database, "run-jobs")
    manage(database, "plan", "new_checkout", "start", *STEPS)
    query(SEEN)
    query(REQUESTS)
    with driver(database) as process:
        wait_for_run(query)
        wait_for_run(query)
        assert query(PLAN)[:2] == (0, "running")
        query(
            "UPDATE flagstaff_rollouts_plan SET due_at = clock_timestamp() + interval '1 second' "
            "RETURNING id"
        )
        server.stop()
        time.sleep(OUTAGE)
        assert process.poll() is None
        server.start()
        wait_until(lambda: query(PLAN)[0] == 1)
        for _ in range(3):
            wait_for_run(query)
        step, state, left = query(PLAN)
    assert (step, state) == (1, "running")
    assert timedelta(minutes=59) < left < timedelta(hours=1)
    assert query("SELECT rollout_percent FROM flagstaff_featureflag") == (25,)
    steps = "SELECT count(*) FROM flagstaff_rollouts_planevent WHERE kind = 'step'"
    assert query(steps) == (1,)
