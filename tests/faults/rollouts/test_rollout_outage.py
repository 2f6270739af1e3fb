"""The database is down when a step of a rollout plan is due."""

import time
from datetime import timedelta
from subprocess import DEVNULL

import pytest

from tests.faults.job_loops import running_loop
from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.repeats import repeats
from tests.support.sessions import within
from tools.postgres import Postgres

OUTAGE = repeats(180, 3)
STEPS = ["--step", "5:1h", "--step", "25:1h", "--step", "100:1h"]
RUNS = "SELECT last_run_at FROM flagstaff_rollouts_driverrun"
PLAN = "SELECT step, state, due_at - clock_timestamp() FROM flagstaff_rollouts_plan"
SEEN = """
INSERT INTO flagstaff_rollouts_seenregister (run_id, inside, left_out, register, rank)
SELECT run_id, inside, false, register, 1 FROM flagstaff_rollouts_plan,
unnest(ARRAY[true, false]) AS inside, generate_series(0, 4095) AS register RETURNING true
"""
REQUESTS = """
INSERT INTO flagstaff_rollouts_signalcount (run_id, inside, kind, number, count)
SELECT run_id, inside, 'r', 0, 5000 FROM flagstaff_rollouts_plan,
unnest(ARRAY[true, false]) AS inside RETURNING true
"""
# The worker that has counted them reports again after the outage.
WORKER = """
INSERT INTO flagstaff_report
SELECT 'w', 'measurements', 'web-1', 1, now(), 60, 1, now(), now() + interval '1 hour'
RETURNING true
"""


def wait_for_run(query: Query) -> None:
    """Waits until the driver has run once more."""
    before = query(RUNS)
    assert within(30, lambda: query(RUNS) != before)


@pytest.mark.timeout(OUTAGE + 120)
def test_step_is_made_once_and_with_its_full_dwell_time_after_an_outage(
    server: Postgres, database: str, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0 RETURNING id")
    for command in (["run-jobs"], ["plan", "start", "new_checkout", *STEPS]):
        run_python(database, "-m", "django", "flags", *command)
    query(SEEN)
    query(REQUESTS)
    query(WORKER)
    with running_loop(database, interval="0.1", stderr=DEVNULL) as process:
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
        assert within(30, lambda: query(PLAN)[0] == 1)
        for _ in range(3):
            wait_for_run(query)
        step, state, left = query(PLAN)
    assert (step, state) == (1, "running")
    assert timedelta(minutes=59) < left < timedelta(hours=1)
    assert query("SELECT rollout_percent FROM flagstaff_featureflag") == (25,)
    steps = "SELECT count(*) FROM flagstaff_rollouts_planevent WHERE kind = 'step'"
    assert query(steps) == (1,)
