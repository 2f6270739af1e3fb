"""Three processes that run waiting actions, killed at random, while others change the rows."""

from __future__ import annotations

import pytest

from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.repeats import repeats

pytestmark = pytest.mark.timeout(1800)
ACTIONS = repeats(full=1000, reduced=60)


@pytest.mark.smoke
def test_each_action_runs_once_or_is_refused_for_the_true_reason(
    database: str, query: Query
) -> None:
    query("DELETE FROM flagstaff_featureflag RETURNING id")
    ran = run_python(database, "-m", "tests.faults.killed_jobs", str(ACTIONS), "1")
    killed, done, failed = map(int, ran.stdout.split())
    assert done + failed == ACTIONS
    assert done > 0
    assert killed >= 3
