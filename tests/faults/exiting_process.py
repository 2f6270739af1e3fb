"""A process that forks children and ends them; each line of its input is [work, exit].

Forked children start fast, and exit as whole Python processes do.
"""

import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import django
from django.utils.functional import SimpleLazyObject

from tools.limits import seconds

TIMEOUT = 10.0
FIRST_LOAD = "waits for the first load"
IDLE = "evaluates nothing"


class Member:
    """A user of a type unknown to Django, whose primary key is a property that blocks."""

    @property
    def pk(self) -> int:
        time.sleep(0.0005)
        return 3


def blocking_user() -> int:
    """What `request.user` does while it queries the database."""
    return Member().pk


def evaluate(user: Any = 3) -> None:
    flagstaff.flag_enabled("new_checkout", user)
    flagstaff.get_value("gateway")


def evaluate_with_query() -> None:
    with flagstaff.read_own_writes():
        evaluate()


WORK: dict[str, Callable[[], object]] = {
    "refreshes": lambda: flagstaff.refresh(),  # noqa: PLW0108 (imported later)
    "evaluates": evaluate,
    "evaluates a lazy user that blocks": lambda: evaluate(SimpleLazyObject(blocking_user)),
    "evaluates a lazy user that computes": lambda: evaluate(
        SimpleLazyObject(lambda: sum(range(2000)))
    ),
    "evaluates a primary key that blocks": lambda: evaluate(Member()),
    "gets a list": lambda: flagstaff.get_value("list"),
    "evaluates an unknown key": lambda: flagstaff.flag_enabled("unknown"),
    "evaluates with a query": evaluate_with_query,
    FIRST_LOAD: evaluate,
    IDLE: lambda: time.sleep(1),
}


def raise_in_signal_handler() -> NoReturn:
    """Exits as servers do, whose signal handler raises SystemExit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError


EXITS: dict[str, Callable[[], object]] = {
    "sys.exit": lambda: sys.exit(3),
    "SIGTERM, handled": raise_in_signal_handler,
    "SIGTERM": lambda: signal.raise_signal(signal.SIGTERM),
    "os._exit": lambda: os._exit(3),
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "an exception": lambda: 1 / 0,
}


def child(ready: int, work: str, how: str) -> None:
    """Works in two daemon threads, and exits during the work."""
    if work not in (FIRST_LOAD, IDLE):
        assert flagstaff.ready(TIMEOUT)
    running = [threading.Event() for _ in range(2)]

    def run(started: threading.Event) -> None:
        while True:
            started.set()
            WORK[work]()

    for started in running:
        threading.Thread(target=run, args=[started], daemon=True).start()
    for started in running:
        started.wait()
    # Varies the point of the work at which the process exits.
    time.sleep(0.003 * (os.getpid() % 7))
    os.write(ready, str(time.monotonic()).encode())
    os.close(ready)
    EXITS[how]()


def run_child(work: str, how: str) -> tuple[int, float]:
    """Returns the exit status of a child, and how many seconds its exit took.

    A child that does not exit in time is ended by SIGQUIT.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        # Leaves the loop of the parent, and then the module as any script does.
        raise ChildProcess(writing, work, how)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        started = float(pipe.read() or "nan")
    deadline = time.monotonic() + seconds(TIMEOUT)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGQUIT)
        time.sleep(0.001)
    took = time.monotonic() - started
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), took


class ChildProcess(Exception):  # noqa: N818 (not an error)
    """Raised in the child."""


def main() -> None:
    # Python warns of a fork beside other threads, which is what the tests do.
    warnings.simplefilter("ignore", DeprecationWarning)
    for line in sys.stdin:
        work, how = json.loads(line)
        print("\nended", json.dumps(run_child(work, how)), flush=True)


if __name__ == "__main__":
    django.setup()
    import flagstaff
    import flagstaff._engine.lifecycle

    try:
        main()
    except ChildProcess as child_process:
        # The child must not read the parent's input.
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 (open until the exit)
        arguments = child_process.args
    else:
        arguments = ()
    if arguments:
        child(*arguments)
