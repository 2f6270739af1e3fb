"""os.fork during changes and loads, two hundred times."""

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

from tests.faults.forking_process import EXITS
from tests.support.repeats import repeats
from tests.support.sessions import Sessions, within
from tests.support.workers import ROOT
from tools.lifeline import ends_with_parent

TIMES = repeats(200, 40)
# Seconds: the defaults of the settings.
STARTUP_TIMEOUT, POLL_INTERVAL = 1.0, 5.0
Query = Callable[..., Any]
STATUSES = {"sys.exit": 3, "os._exit": 3, "kill -9": -9}


class ForkRun:
    """The reports of all children, the parent's session before and after, and the errors."""

    def __init__(self, database: str, sessions: Sessions) -> None:
        command = [sys.executable, "-m", "tests.faults.forking_process", str(TIMES)]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only calls prctl)
        ) as process:
            assert within(20, lambda: process.pid in [s.owner for s in sessions()])
            [self.before] = [s for s in sessions() if s.owner == process.pid][:1]
            assert process.stdout
            line = process.stdout.readline()
            self.only_parent_connected = within(2, lambda: len(sessions()) == 1)
            self.after = sessions()
            _, self.errors = process.communicate("\n", timeout=20)
        assert process.returncode == 0, self.errors
        self.report = json.loads(line)
        self.children = self.report["children"]


@pytest.mark.timeout(300)
def test_forked_children_evaluate_at_once_and_are_fresh_within_a_second(
    database: str, query: Query, sessions: Sessions
) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = '0'")
    run = ForkRun(database, sessions)
    reports = [child["report"] for child in run.children]
    first, fresh = sorted(one[1] for one in reports), sorted(one[2] for one in reports)
    took = sorted(child["took"] for child in run.children)
    print(f"first evaluation: median {first[TIMES // 2]:.4f} s, max {first[-1]:.4f} s")
    print(f"fresh: median {fresh[TIMES // 2]:.3f} s, max {fresh[-1]:.3f} s")
    print(f"child: max {took[-1]:.3f} s")
    print(f"{run.report['committed']} changes, {run.report['status']['loads']} loads")
    exited = Counter((child["how"], child["status"]) for child in run.children)
    assert set(exited) == {(how, STATUSES[how]) for how in EXITS}
    assert None not in [one[0] for one in reports]
    # On a busy machine a few children wait for a processor.
    assert first[TIMES // 2] < 0.1
    assert first[-1] < STARTUP_TIMEOUT
    assert {one[3] for one in reports} == {"live"}
    assert fresh[TIMES // 2] < 1
    assert fresh[-1] < POLL_INTERVAL
    assert took[-1] < POLL_INTERVAL
    assert run.report["status"]["failures"] == 0
    assert (run.only_parent_connected, run.after) == (True, [run.before])
    assert run.errors == ""
