"""A process exits soon and with its status, whatever its engine and threads are doing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import RunIsolated
from tests.faults.exiting_process import FIRST_LOAD, IDLE, WORK
from tests.support.repeats import repeats
from tests.support.sessions import Sessions, within
from tests.support.workers import ROOT
from tools.lifeline import ends_with_parent

STATUSES = {
    "sys.exit": 3,
    "SIGTERM, handled": 3,
    "SIGTERM": -15,
    "os._exit": 3,
    "kill -9": -9,
    "an exception": 1,
}
EXITS, EXITS_PER_CASE = repeats(100, 20), repeats(5, 2)
# Seconds that an engine may add to the exit of the interpreter: one on an idle machine.
MAX_DELAY = 2.0
Query = Callable[..., Any]
RunChild = Callable[[str, str, str], tuple[int, float]]


@pytest.fixture
def run_child() -> Iterator[RunChild]:
    """Runs a child that works and exits; returns its status and the seconds of its exit."""
    with ExitStack() as stack:
        parents: dict[str, subprocess.Popen[str]] = {}

        def start(database: str) -> subprocess.Popen[str]:
            return stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.exiting_process"],
                    cwd=ROOT,
                    env=os.environ
                    | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only a prctl)
                )
            )

        def run(database: str, work: str, how: str) -> tuple[int, float]:
            if database not in parents:
                parents[database] = start(database)
            parent = parents[database]
            assert parent.stdin
            assert parent.stdout
            parent.stdin.write(json.dumps([work, how]) + "\n")
            parent.stdin.flush()
            output: list[str] = []
            while not (line := parent.stdout.readline()).startswith("ended "):
                assert line, output
                output.append(line)
            assert not [line for line in output if "atal" in line or "FATAL" in line], output
            status, took = json.loads(line.removeprefix("ended "))
            return status, took

        yield run
        for parent in parents.values():
            assert parent.stdin
            parent.stdin.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["sys.exit", "SIGTERM, handled", "SIGTERM", "os._exit"])
def test_process_exits_with_its_status_during_a_load(
    how: str, database: str, sessions: Sessions, run_child: RunChild
) -> None:
    exited = [run_child(database, "refreshes", how) for _ in range(EXITS)]
    assert Counter(status for status, _ in exited) == {STATUSES[how]: EXITS}
    idle = max(run_child(database, IDLE, how)[1] for _ in range(repeats(10, 5)))
    took = sorted(took for _, took in exited)
    print(f"{how}: median {took[EXITS // 2]:.2f} s, max {took[-1]:.2f} s, idle {idle:.2f} s")
    assert took[-1] < idle + MAX_DELAY
    assert within(2, lambda: sessions() == [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", [work for work in WORK if work != FIRST_LOAD])
def test_process_exits_with_its_status_while_daemon_threads_work(
    work: str, database: str, query: Query, sessions: Sessions, run_child: RunChild
) -> None:
    query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('list', '[1, [2]]')")
    for how, status in STATUSES.items():
        exited = [run_child(database, work, how) for _ in range(EXITS_PER_CASE)]
        assert [found for found, _ in exited] == [status] * EXITS_PER_CASE, how
        idle = run_child(database, IDLE, how)[1]
        assert max(took for _, took in exited) < idle + MAX_DELAY, how
    assert within(2, lambda: sessions() == [])


def test_process_exits_with_its_status_while_threads_wait_for_the_first_load(
    run_child: RunChild,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"
        for how, status in STATUSES.items():
            found, took = run_child(database, FIRST_LOAD, how)
            idle = run_child(database, IDLE, how)[1]
            assert (found, took < idle + MAX_DELAY) == (status, True), how


def test_subinterpreter_is_rejected(run_isolated: RunIsolated) -> None:
    script = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
django.setup()
code = '''
import os
import sys
sys.path.insert(0, os.getcwd())
import django
try:
    django.setup()
except Exception as error:
    os.write(1, f"{type(error).__name__}: {error}".encode())
'''
try:
    import _interpreters as interpreters
    other = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    other = interpreters.create(isolated=False)
interpreters.run_string(other, code)
interpreters.destroy(other)
"""
    assert run_isolated(script) == (
        "ConfigurationError: flagstaff supports one interpreter per process, and this is "
        "another one; give each application its own process, as with WSGIApplicationGroup "
        "%{GLOBAL} in mod_wsgi"
    )
