"""A process that forks again and again in a storm of changes and loads, and prints what it saw."""

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

PATIENCE = 10.0
WAYS = ("sys.exit", "os._exit", "kill -9")

_committed = 0
_over = threading.Event()


def change_constantly(url: str) -> None:
    """Count up, in a setting that all processes of the storm read."""
    global _committed  # noqa: PLW0603 (a child inherits what was committed before its fork)
    statement = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)"
    with psycopg.connect(url, autocommit=True) as session:
        while not _over.wait(0.005):
            session.execute(statement, [_committed + 1])
            _committed += 1


def reload_constantly() -> None:
    while not _over.wait(0.001):
        flagstaff.refresh()


def child(pipe: int, how: str) -> NoReturn:
    """Ask at once, then until all is seen that was committed before the fork; leave this way."""
    committed, begun = _committed, time.monotonic()
    inherited = flagstaff.get_value("gateway")
    at_once = time.monotonic() - begun
    while flagstaff.get_value("gateway") < committed or flagstaff.status().mode != "live":
        if time.monotonic() > begun + PATIENCE:
            break
        time.sleep(0.001)
    fresh = time.monotonic() - begun
    mode = flagstaff.status().mode
    os.write(pipe, json.dumps([inherited, at_once, fresh, mode]).encode())
    os.close(pipe)
    if how == "kill -9":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "os._exit":
        os._exit(3)
    sys.exit(3)


def fork(how: str) -> dict[str, Any]:
    """What a child saw and how it ended, and how long all of that took."""
    reading, writing = os.pipe()
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(writing, how)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        heard = select.select([pipe], [], [], PATIENCE)[0] and pipe.read()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > begun + PATIENCE:
            os.kill(pid, signal.SIGABRT)
        time.sleep(0.001)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took = time.monotonic() - begun
    saw = json.loads(heard) if heard else [None, None, None, None]
    return {"how": how, "status": status, "took": took, "saw": saw}


def main(url: str, times: int) -> None:
    # Python warns of a fork beside other threads; that ours does no harm is what is tested.
    warnings.simplefilter("ignore", DeprecationWarning)
    storm = [
        threading.Thread(target=change_constantly, args=[url]),
        threading.Thread(target=reload_constantly),
    ]
    assert flagstaff.ready(PATIENCE)
    for thread in storm:
        thread.start()
    children = [fork(WAYS[number % len(WAYS)]) for number in range(times)]
    _over.set()
    for thread in storm:
        thread.join()
    status = flagstaff.status().as_dict()
    print(json.dumps({"children": children, "committed": _committed, "status": status}), flush=True)
    # The test looks at the server's list of sessions meanwhile.
    sys.stdin.readline()


if __name__ == "__main__":
    django.setup()
    logging.getLogger("flagstaff").addHandler(logging.StreamHandler(sys.stderr))
    import flagstaff

    main(os.environ["DATABASE_URL"], int(sys.argv[1]))
