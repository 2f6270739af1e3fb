"""multiprocessing and concurrent.futures: each process has an engine of its own, and ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.sessions import Sessions, within
from tests.workers import ROOT

METHODS = ["fork", "forkserver", "spawn"]
CHILDREN = 3
Query = Callable[..., Any]

# A file, for children of the last two methods import what they run.
SCRIPT = """
import multiprocessing, os, signal, sys, time, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import django
warnings.simplefilter("ignore", DeprecationWarning)

def set_up():
    django.setup()

def told(line):
    # In one piece: all of them write to this pipe.
    os.write(1, f"{line}\\n".encode())

def child(number, barrier):
    django.setup()
    from flagstaff import get_value, status
    begun = time.monotonic()
    before = get_value("gateway")
    took = time.monotonic() - begun
    while status().mode != "live":
        time.sleep(0.001)
    told(f"before {before} {took:.3f}")
    barrier.wait()
    begun = time.monotonic()
    while get_value("gateway") != "paypal" and time.monotonic() < begun + 10:
        time.sleep(0.001)
    told(f"after {get_value('gateway')}")
    barrier.wait()
    {"return": lambda: None, "sys.exit": lambda: sys.exit(3), "os._exit": lambda: os._exit(3),
     "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL)}[WAYS[number]]()

WAYS = ["sys.exit", "os._exit", "kill -9"]

def main(method):
    django.setup()
    from flagstaff import get_value
    told(f"parent {get_value('gateway')}")
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(len(WAYS) + 1)
    children = [context.Process(target=child, args=[n, barrier]) for n in range(len(WAYS))]
    for process in children:
        process.start()
    barrier.wait()
    told("all are there")
    sys.stdin.readline()
    barrier.wait()
    for process in children:
        process.join(10)
    told("ended " + " ".join(str(process.exitcode) for process in children))
    with ProcessPoolExecutor(2, mp_context=context, initializer=set_up) as pool:
        told("pool " + " ".join(pool.map(get_value, ["gateway"] * 8)))
    sys.stdin.readline()

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", METHODS)
def test_each_process_answers_sees_a_change_and_leaves_nothing(
    method: str, database: str, query: Query, sessions: Sessions, tmp_path: Any
) -> None:
    script = tmp_path / "family.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "-X", "dev", str(script), method],
        env=os.environ
        | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        hear = process.stdout.readline
        assert hear() == "parent stripe\n"
        [parent] = sessions()
        before = [hear().split() for _ in range(CHILDREN + 1)]
        assert [words[1] for words in before[:-1]] == ["stripe"] * CHILDREN
        assert len({s.owner for s in sessions()}) == len(sessions()) == CHILDREN + 1
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        process.stdin.write("\n")
        process.stdin.flush()
        assert [hear() for _ in range(CHILDREN)] == ["after paypal\n"] * CHILDREN
        assert hear() == "ended 3 3 -9\n"
        assert hear() == "pool" + " paypal" * 8 + "\n"
        assert within(2, lambda: sessions() == [parent]), sessions()
        _, said = process.communicate("\n", timeout=20)
    assert (process.returncode, said) == (0, "")
    assert within(2, lambda: sessions() == [])
