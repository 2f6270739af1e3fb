"""multiprocessing and concurrent.futures: each process has its own engine, and stops it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import Query
from tests.support.python_processes import environment
from tests.support.sessions import Sessions, only_session, within
from tools.limits import seconds

CHILDREN = 3
USAGE = "SELECT sum(count)::int FROM flagstaff_usage"
REPORTS = "SELECT count(*), count(stopped_at) FROM flagstaff_report"

# A file, because two of the methods import what they run.
SCRIPT = """
import multiprocessing, os, signal, sys, time, warnings
from concurrent.futures import ProcessPoolExecutor
import django
warnings.simplefilter("ignore", DeprecationWarning)

def set_up():
    django.setup()

def report(line):
    # One write per line, because all processes share this pipe.
    os.write(1, f"{line}\\n".encode())

def evaluate(times):
    from flagstaff import flag_enabled
    for user in range(times):
        flag_enabled("new_checkout", user)

def child(number, barrier):
    django.setup()
    from flagstaff import get_value, status
    before = get_value("gateway")
    evaluate(500)
    while status().mode != "live":
        time.sleep(0.001)
    report(f"before {before}")
    barrier.wait()
    started = time.monotonic()
    while get_value("gateway") != "paypal" and time.monotonic() < started + 60:
        time.sleep(0.001)
    report(f"after {get_value('gateway')}")
    barrier.wait()
    {"sys.exit": lambda: sys.exit(3), "os._exit": lambda: os._exit(3),
     "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL)}[EXITS[number]]()

EXITS = ["sys.exit", "os._exit", "kill -9"]

def main(method):
    django.setup()
    from flagstaff import get_value
    evaluate(100)
    report(f"parent {get_value('gateway')}")
    sys.stdin.readline()
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(len(EXITS) + 1)
    children = [
        context.Process(target=child, args=[n, barrier], daemon=True) for n in range(len(EXITS))
    ]
    for process in children:
        process.start()
    barrier.wait()
    report("all started")
    sys.stdin.readline()
    barrier.wait()
    for process in children:
        process.join(60)
    report("exited " + " ".join(str(process.exitcode) for process in children))
    with ProcessPoolExecutor(2, mp_context=context, initializer=set_up) as pool:
        report("pool " + " ".join(pool.map(get_value, ["gateway"] * 8)))
    sys.stdin.readline()

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_child_process_evaluates_sees_a_change_reports_its_usage_and_leaves_no_session(
    method: str, database: str, query: Query, sessions: Sessions, tmp_path: Path
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "-X", "dev", str(script), method],
        env=environment(database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        read_line = process.stdout.readline
        assert read_line() == "parent stripe\n"
        parent = only_session(sessions)
        process.stdin.write("\n")
        process.stdin.flush()
        before = [read_line() for _ in range(CHILDREN + 1)]
        assert before == [*["before stripe\n"] * CHILDREN, "all started\n"]
        assert len({s.owner for s in sessions()}) == len(sessions()) == CHILDREN + 1
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        process.stdin.write("\n")
        process.stdin.flush()
        assert [read_line() for _ in range(CHILDREN)] == ["after paypal\n"] * CHILDREN
        assert read_line() == "exited 3 3 -9\n"
        assert read_line() == "pool" + " paypal" * 8 + "\n"
        assert within(2, lambda: sessions() == [parent]), sessions()
        _, errors = process.communicate("\n", timeout=seconds(20))
    assert (process.returncode, errors) == (0, "")
    assert within(2, lambda: sessions() == [])
    # The parent and the child that exits as Python does have written their last report.
    assert (query(USAGE), query(REPORTS)) == ((600,), (2, 2))
