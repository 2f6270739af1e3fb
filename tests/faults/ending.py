"""A process that ends another one, over and over: each line of its input says in which way.

What it ends are its children. They are whole Python processes, which end as any other does; that
they are forked saves starting each of them from nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import django
from django.utils.functional import SimpleLazyObject

PATIENCE = 10.0
FIRST = "waits for the first load"
IDLE = "asks nothing"


def refresh() -> None:
    flagstaff.refresh()


def ask() -> None:
    flagstaff.flag_enabled("new_checkout", 3)
    flagstaff.get_value("gateway")


def ask_for_a_user_that_waits() -> None:
    """As `request.user` does, which is a query."""

    def wait() -> int:
        time.sleep(0.0005)
        return 3

    flagstaff.flag_enabled("new_checkout", SimpleLazyObject(wait))


def ask_for_a_user_that_computes() -> None:
    flagstaff.flag_enabled("new_checkout", SimpleLazyObject(lambda: sum(range(2000))))


class Member:
    """A user of a type that Django does not know, whose key is a property."""

    @property
    def pk(self) -> int:
        time.sleep(0.0005)
        return 3


def ask_for_a_key_that_waits() -> None:
    flagstaff.flag_enabled("new_checkout", Member())


def ask_for_a_list() -> None:
    flagstaff.get_value("list")


def ask_for_nothing_that_is_there() -> None:
    flagstaff.flag_enabled("nothing")


def ask_with_a_query() -> None:
    with flagstaff.read_own_writes():
        ask()


WORK: dict[str, Callable[[], None]] = {
    "refreshes": refresh,
    "asks": ask,
    "asks for a user that waits": ask_for_a_user_that_waits,
    "asks for a user that computes": ask_for_a_user_that_computes,
    "asks for a key that waits": ask_for_a_key_that_waits,
    "asks for a list": ask_for_a_list,
    "asks for nothing that is there": ask_for_nothing_that_is_there,
    "asks with a query": ask_with_a_query,
    FIRST: ask,
    IDLE: lambda: time.sleep(1),
}


def terminate_in_order() -> NoReturn:
    """As servers do, whose handler of the signal raises."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError


ENDS: dict[str, Callable[[], object]] = {
    "sys.exit": lambda: sys.exit(3),
    "SIGTERM, handled": terminate_in_order,
    "SIGTERM": lambda: signal.raise_signal(signal.SIGTERM),
    "os._exit": lambda: os._exit(3),
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "an exception": lambda: 1 / 0,
}


def child(ready: int, work: str, end: str) -> None:
    """Have two daemon threads work, and end in the middle of it."""
    if work not in (FIRST, IDLE):
        assert flagstaff.ready(PATIENCE)
    running = [threading.Event() for _ in range(2)]

    def run(begun: threading.Event) -> None:
        while True:
            begun.set()
            WORK[work]()

    for begun in running:
        threading.Thread(target=run, args=[begun], daemon=True).start()
    for begun in running:
        begun.wait()
    # Not always at the same moment of it.
    time.sleep(0.003 * (os.getpid() % 7))
    os.write(ready, str(time.monotonic()).encode())
    os.close(ready)
    ENDS[end]()


def run_child(work: str, end: str) -> tuple[int, float]:
    """The status of a child, None where it had to be killed, and how long its end took."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        # Past the loop of its parent, and then out of the module as any script does.
        raise ChildProcess(writing, work, end)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        begun = float(pipe.read() or "nan")
    limit = time.monotonic() + PATIENCE
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGQUIT)
        time.sleep(0.001)
    took = time.monotonic() - begun
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), took


class ChildProcess(Exception):  # noqa: N818 (it is none)
    """We are a child."""


def main() -> None:
    # Python warns of a fork beside other threads; that ours does no harm is what is tested.
    warnings.simplefilter("ignore", DeprecationWarning)
    for line in sys.stdin:
        work, end = json.loads(line)
        print("\nended", json.dumps(run_child(work, end)), flush=True)


if __name__ == "__main__":
    django.setup()
    import flagstaff
    import flagstaff._engine.lifecycle

    try:
        main()
    except ChildProcess as found:
        # Not the parent's: it would read on where the parent is.
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 (open to the end)
        arguments = found.args
    else:
        arguments = ()
    if arguments:
        child(*arguments)
