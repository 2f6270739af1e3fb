"""Ten drivers of rollout plans at once, of which about half are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.app_servers import ROOT
from tests.support.fixtures import Query
from tests.support.repeats import repeats

pytestmark = pytest.mark.timeout(1800)
REPEATS = repeats(full=1000, reduced=30)


def test_each_step_is_made_once_and_none_is_lost(database: str, query: Query) -> None:
    query("DELETE FROM flagstaff_featureflag RETURNING id")
    result = subprocess.run(
        [sys.executable, "-m", "tests.faults.killed_drivers", str(REPEATS), "1"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["problems"] == []
    assert found["killed"] > REPEATS
