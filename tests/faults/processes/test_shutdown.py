"""A process exits soon and with its status, whatever its engine and threads are doing."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import RunIsolated
from tests.faults.exiting_process import FIRST_LOAD, IDLE, WORK
from tests.support.fixtures import Query
from tests.support.python_processes import environment
from tests.support.repeats import repeats
from tests.support.sessions import Sessions, within
from tools.lifeline import ends_with_parent
from tools.limits import seconds

STATUSES = {
    "sys.exit": 3,
    "SIGTERM, handled": 3,
    "SIGTERM": -15,
    "os._exit": 3,
    "kill -9": -9,
    "an exception": 1,
}
EXITS_PER_CASE = repeats(10, 3)
# Seconds that an engine may add to the exit of the interpreter: one on an idle machine.
MAX_DELAY = 2.0
RunChild = Callable[[str, str], tuple[int, float]]


@contextmanager
def parent_at(database: str) -> Iterator[RunChild]:
    """Runs children that work and exit; each returns its status and the seconds of its exit."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.exiting_process"],
        env=environment(database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only calls prctl)
    ) as parent:

        def run_child(work: str, how: str) -> tuple[int, float]:
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

        yield run_child


@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", [work for work in WORK if work != FIRST_LOAD])
def test_process_exits_with_its_status_while_daemon_threads_work(
    work: str, database: str, query: Query, sessions: Sessions
) -> None:
    query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('list', '[1, [2]]')")
    with parent_at(database) as run_child:
        for how, status in STATUSES.items():
            exited = [run_child(work, how) for _ in range(EXITS_PER_CASE)]
            assert [ended for ended, _ in exited] == [status] * EXITS_PER_CASE, how
            idle = run_child(IDLE, how)[1]
            assert max(took for _, took in exited) < idle + seconds(MAX_DELAY), how
    assert within(2, lambda: sessions() == [])


@pytest.mark.smoke
def test_process_exits_with_its_status_while_threads_wait_for_the_first_load(
    silent_url: str,
) -> None:
    with parent_at(silent_url) as run_child:
        for how, status in STATUSES.items():
            ended, took = run_child(FIRST_LOAD, how)
            idle = run_child(IDLE, how)[1]
            assert (ended, took < idle + seconds(MAX_DELAY)) == (status, True), how


def test_subinterpreter_is_rejected(run_isolated: RunIsolated) -> None:
    script = """
import os
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
