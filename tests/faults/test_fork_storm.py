"""os.fork in the middle of changes and loads, two hundred times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.forking import WAYS
from tests.repeats import repeats
from tests.sessions import Sessions, within
from tests.workers import ROOT
from tools.lifeline import ends_with_parent

TIMES = repeats(200, 40)
Query = Callable[..., Any]
STATUSES = {"sys.exit": 3, "os._exit": 3, "kill -9": -9}


class Storm:
    """What two hundred children saw, the parent's sessions before and after, and what was said."""

    def __init__(self, database: str, sessions: Sessions) -> None:
        command = [sys.executable, "-m", "tests.faults.forking", str(TIMES)]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (it only calls prctl)
        ) as process:
            assert within(20, lambda: process.pid in [s.owner for s in sessions()])
            [self.before] = [s for s in sessions() if s.owner == process.pid][:1]
            assert process.stdout
            line = process.stdout.readline()
            self.left_alone = within(2, lambda: len(sessions()) == 1)
            self.after = sessions()
            _, self.said = process.communicate("\n", timeout=20)
        assert process.returncode == 0, self.said
        self.found = json.loads(line)
        self.children = self.found["children"]


@pytest.mark.timeout(300)
def test_two_hundred_forks_in_a_storm_of_loads_answer_at_once_and_are_fresh_soon(
    database: str, query: Query, sessions: Sessions
) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = '0'")
    storm = Storm(database, sessions)
    saw = [child["saw"] for child in storm.children]
    at_once, fresh = sorted(s[1] for s in saw), sorted(s[2] for s in saw)
    took = sorted(child["took"] for child in storm.children)
    print(f"at once {at_once[TIMES // 2]:.4f}, at most {at_once[-1]:.4f} s")
    print(
        f"fresh {fresh[TIMES // 2]:.3f}, at most {fresh[-1]:.3f} s; took at most {took[-1]:.3f} s"
    )
    print(f"{storm.found['committed']} changes, {storm.found['status']['loads']} loads")
    ended = Counter((child["how"], child["status"]) for child in storm.children)
    assert set(ended) == {(how, STATUSES[how]) for how in WAYS}
    assert None not in [s[0] for s in saw]
    # On a busy machine a few children wait for a processor.
    assert at_once[TIMES * 95 // 100] < 0.1
    assert at_once[-1] < 0.5
    assert {s[3] for s in saw} == {"live"}
    assert fresh[-1] < 1
    assert took[-1] < 2
    assert storm.found["status"]["failures"] == 0
    assert (storm.left_alone, storm.after) == (True, [storm.before])
    assert storm.said == ""
