"""Ten drivers of rollout plans at once, of which about half are killed."""

import pytest

from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.repeats import repeats

pytestmark = pytest.mark.timeout(1800)
REPEATS = repeats(full=1000, reduced=30)


@pytest.mark.smoke
def test_each_step_is_made_once_and_none_is_lost(database: str, query: Query) -> None:
    query("DELETE FROM flagstaff_featureflag RETURNING id")
    ran = run_python(database, "-m", "tests.faults.killed_drivers", str(REPEATS), "1")
    assert int(ran.stdout) > REPEATS
