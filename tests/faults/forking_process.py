"""A process that forks repeatedly during changes and loads, and prints what the children saw."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
import warnings
from typing import Any, NoReturn

import django
import psycopg

TIMEOUT = 10.0
EXITS = ("sys.exit", "os._exit", "kill -9")

_committed = 0
_stop = threading.Event()


def change_constantly(url: str) -> None:
    """Increments a value that all processes read."""
    global _committed  # noqa: PLW0603 (a child inherits what was committed before its fork)
    statement = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)"
    with psycopg.connect(url, autocommit=True) as session:
        while not _stop.wait(0.005):
            session.execute(statement, [_committed + 1])
            _committed += 1


def reload_constantly() -> None:
    while not _stop.wait(0.001):
        flagstaff.refresh()


def child(pipe: int, how: str) -> NoReturn:
    """Reads the value until it has all commits before the fork, writes a report, and exits."""
    committed, started = _committed, time.monotonic()
    inherited = flagstaff.get_value("gateway")
    first_seconds = time.monotonic() - started
    while flagstaff.get_value("gateway") < committed or flagstaff.status().mode != "live":
        if time.monotonic() > started + TIMEOUT:
            break
        time.sleep(0.001)
    fresh_seconds = time.monotonic() - started
    mode = flagstaff.status().mode
    os.write(pipe, json.dumps([inherited, first_seconds, fresh_seconds, mode]).encode())
    os.close(pipe)
    if how == "kill -9":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "os._exit":
        os._exit(3)
    sys.exit(3)


def fork(how: str) -> dict[str, Any]:
    """Returns the report of a child, its exit status, and how many seconds it existed."""
    reading, writing = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(writing, how)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = select.select([pipe], [], [], TIMEOUT)[0] and pipe.read()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > started + TIMEOUT:
            os.kill(pid, signal.SIGABRT)
        time.sleep(0.001)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took = time.monotonic() - started
    report = json.loads(text) if text else [None, None, None, None]
    return {"how": how, "status": status, "took": took, "report": report}


def main(url: str, times: int) -> None:
    # Python warns of a fork beside other threads, which is what the tests do.
    warnings.simplefilter("ignore", DeprecationWarning)
    load = [
        threading.Thread(target=change_constantly, args=[url]),
        threading.Thread(target=reload_constantly),
    ]
    assert flagstaff.ready(TIMEOUT)
    for thread in load:
        thread.start()
    children = [fork(EXITS[number % len(EXITS)]) for number in range(times)]
    _stop.set()
    for thread in load:
        thread.join()
    status = flagstaff.status().as_dict()
    print(json.dumps({"children": children, "committed": _committed, "status": status}), flush=True)
    # Until the test has read the server's list of sessions.
    sys.stdin.readline()


if __name__ == "__main__":
    django.setup()
    logging.getLogger("flagstaff").addHandler(logging.StreamHandler(sys.stderr))
    import flagstaff

    main(os.environ["DATABASE_URL"], int(sys.argv[1]))
