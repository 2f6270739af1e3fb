"""A process ends as it was told, soon, whatever its engine and its threads are doing."""

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
from tests.faults.ending import FIRST, IDLE, WORK
from tests.repeats import repeats
from tests.sessions import Sessions, within
from tests.workers import ROOT
from tools.lifeline import ends_with_parent

STATUSES = {
    "sys.exit": 3,
    "SIGTERM, handled": 3,
    "SIGTERM": -15,
    "os._exit": 3,
    "kill -9": -9,
    "an exception": 1,
}
ENDS, ENDS_OF_EACH_WAY = repeats(100, 20), repeats(5, 2)
# What an engine may add to the time that the interpreter itself takes to end: a second, or twice
# that on a busy machine.
SOON = 2.0
Query = Callable[..., Any]
End = Callable[[str, str, str], tuple[int, float]]


@pytest.fixture
def end() -> Iterator[End]:
    """Have a process at a database work and end in these ways; its status, and how long it took."""
    with ExitStack() as stack:
        parents: dict[str, subprocess.Popen[str]] = {}

        def begin(database: str) -> subprocess.Popen[str]:
            return stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.ending"],
                    cwd=ROOT,
                    env=os.environ
                    | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.settings"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only a prctl)
                )
            )

        def end(database: str, work: str, how: str) -> tuple[int, float]:
            if database not in parents:
                parents[database] = begin(database)
            parent = parents[database]
            assert parent.stdin
            assert parent.stdout
            parent.stdin.write(json.dumps([work, how]) + "\n")
            parent.stdin.flush()
            said: list[str] = []
            while not (line := parent.stdout.readline()).startswith("ended "):
                assert line, said
                said.append(line)
            assert not [line for line in said if "atal" in line or "FATAL" in line], said
            status, took = json.loads(line.removeprefix("ended "))
            return status, took

        yield end
        for parent in parents.values():
            assert parent.stdin
            parent.stdin.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["sys.exit", "SIGTERM, handled", "SIGTERM", "os._exit"])
def test_hundred_processes_that_end_in_the_middle_of_loads_end_as_they_were_told(
    how: str, database: str, sessions: Sessions, end: End
) -> None:
    ended = [end(database, "refreshes", how) for _ in range(ENDS)]
    assert Counter(status for status, _ in ended) == {STATUSES[how]: ENDS}
    idle = max(end(database, IDLE, how)[1] for _ in range(repeats(10, 5)))
    took = sorted(took for _, took in ended)
    print(f"{how}: {took[ENDS // 2]:.2f}, at most {took[-1]:.2f} s; without an engine {idle:.2f} s")
    assert took[-1] < idle + SOON
    assert within(2, lambda: sessions() == [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", [work for work in WORK if work != FIRST])
def test_process_ends_as_it_was_told_whatever_its_daemon_threads_do(
    work: str, database: str, query: Query, sessions: Sessions, end: End
) -> None:
    query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('list', '[1, [2]]')")
    for how, status in STATUSES.items():
        ended = [end(database, work, how) for _ in range(ENDS_OF_EACH_WAY)]
        assert [found for found, _ in ended] == [status] * ENDS_OF_EACH_WAY, how
        idle = end(database, IDLE, how)[1]
        assert max(took for _, took in ended) < idle + SOON, how
    assert within(2, lambda: sessions() == [])


def test_process_ends_as_it_was_told_in_the_first_question_of_a_thread(end: End) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = f"postgres://127.0.0.1:{silent.getsockname()[1]}/flags"
        for how, status in STATUSES.items():
            found, took = end(database, FIRST, how)
            idle = end(database, IDLE, how)[1]
            assert (found, took < idle + SOON) == (status, True), how


def test_subinterpreter_is_refused(run_isolated: RunIsolated) -> None:
    script = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
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
