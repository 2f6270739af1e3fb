"""Processes that run waiting actions or rollout plans, and are killed at random."""

from typing import Any

import pytest

from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.repeats import repeats

pytestmark = pytest.mark.timeout(1800)
ACTIONS = repeats(full=1000, reduced=60)
STEPS = repeats(full=1000, reduced=30)


@pytest.mark.smoke
def test_each_action_runs_once_or_is_refused_for_the_true_reason(
    database: str, query: Query
) -> None:
    killed, _written, done, failed = run_and_kill(database, query, ACTIONS, jobs=3)
    assert done + failed == ACTIONS
    assert done > 0
    assert killed >= 3


def test_each_action_runs_once_beside_twelve_writers(database: str, query: Query) -> None:
    killed, written, done, failed = run_and_kill(database, query, 24, jobs=2, writers=12)
    assert (done, failed) == (24, 0)
    assert written >= 24
    assert killed >= 10


def run_and_kill(database: str, query: Query, *numbers: int, jobs: int, writers: int = 0) -> Any:
    query("DELETE FROM flagstaff_featureflag RETURNING id")
    arguments = map(str, (*numbers, jobs, writers))
    ran = run_python(database, "-m", "tests.faults.killed_jobs", *arguments)
    print(ran.stdout)
    return map(int, ran.stdout.split())


@pytest.mark.smoke
def test_each_step_of_a_plan_is_made_once_while_half_of_ten_drivers_are_killed(
    database: str, query: Query
) -> None:
    query("DELETE FROM flagstaff_featureflag RETURNING id")
    ran = run_python(database, "-m", "tests.faults.killed_drivers", str(STEPS), "1")
    # It prints how many drivers it killed.
    assert int(ran.stdout) > STEPS
