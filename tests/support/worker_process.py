"""The process of `tests.support.workers.Worker`: reads commands, writes a line with each result."""

import ctypes
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils.module_loading import import_string

import flagstaff
from tests.support.python_processes import end_patiently
from tools.limits import seconds

Command = list[Any]

_logged: list[list[str]] = []
_stop = threading.Event()
_followed: list[list[Any]] = []
_threads: list[threading.Thread] = []


class _ListHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _logged.append([record.levelname, record.getMessage()])


def set_up() -> None:
    # First: it measures the machine, and a test may measure this process.
    end_patiently()
    logging.getLogger("flagstaff").addHandler(_ListHandler())
    django.setup()
    # A busy machine must not fail a test by a late first load.
    settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 10} | json.loads(os.environ["FLAGSTAFF"])


def run(command: Command) -> Any:
    name, *arguments = command
    return COMMANDS[name](*arguments)


def until(command: Command, expected: Any, limit: float) -> float | None:
    """Waits for a result, and returns the seconds that it took.

    Returns None after the limit of a quiet machine.
    """
    started = time.monotonic()
    while run(command) != expected:
        # The machine may have become busy meanwhile.
        if time.monotonic() - started > seconds(limit):
            return None
        time.sleep(0.001)
    return time.monotonic() - started


def survey(key: str, users: int) -> list[int]:
    """The primary keys from 0 on that have the flag."""
    return [user for user in range(users) if flagstaff.flag_enabled(key, user)]


def ready(timeout: float | None = None) -> bool:
    """Waits for the first load, and for its mode, which the engine sets a moment later."""
    is_ready = flagstaff.ready(timeout)
    while is_ready and flagstaff.status().mode == "starting":
        time.sleep(0.001)
    return is_ready


def has_logged(times: int) -> bool:
    """Whether this many lines have been logged; evaluations write them."""
    flagstaff.flag_enabled("new_checkout")
    return len(_logged) >= times


def follow(command: Command) -> None:
    """Repeats a command in a thread and records when its result changed.

    It ends with `followed`, or with `watched`, which returns only the distinct results.
    """
    _stop.clear()
    # Before the thread starts, which may be after the change that the test makes.
    _followed[:] = [[time.monotonic(), run(command)]]

    def repeat() -> None:
        over = False
        while not over:
            # Read before the last run, so that a result at the time of the stop is recorded.
            over = _stop.is_set()
            result = run(command)
            if _followed[-1][1] != result:
                _followed.append([time.monotonic(), result])
            time.sleep(0.0002)

    _start(repeat)


def last_followed() -> Any:
    """The newest result of the command that is followed."""
    return _followed[-1][1]


def followed() -> list[list[Any]]:
    """The results in order, each with its time on the system-wide monotonic clock."""
    watched()
    return _followed


def reload_constantly() -> None:
    """Loads everything repeatedly in a thread, until `watched` is called."""

    def reload() -> None:
        while not _stop.is_set():
            flagstaff.refresh()

    _start(reload)


def watched() -> list[Any]:
    _stop.set()
    while _threads:
        _threads.pop().join()
    seen: list[Any] = []
    for _, result in _followed:
        if result not in seen:
            seen.append(result)
    return seen


def _start(work: Callable[[], None]) -> None:
    _threads.append(threading.Thread(target=work, daemon=True))
    _threads[-1].start()


def in_threads(count: int, command: Command) -> list[Any]:
    """Runs a command in several threads at the same time, and returns their results."""
    barrier, results = threading.Barrier(count), []

    def run_once() -> None:
        barrier.wait()
        results.append(run(command))

    threads = [threading.Thread(target=run_once) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def in_fork(how: str, commands: list[Command], bare: bool = False) -> list[Any]:
    """Runs commands in a forked child, which then exits in this way.

    A bare fork bypasses Python, as uWSGI does, so Python runs no fork hooks.
    """
    reading, writing = os.pipe()
    pid = _fork(bare)
    if pid == 0:
        os.write(writing, json.dumps([run(command) for command in commands]).encode())
        os.close(writing)
        exit_by(how)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        results = pipe.read()
    os.waitpid(pid, 0)
    return list(json.loads(results))


def continue_in_fork(bare: bool = False) -> int:
    """Forks and kills this process. The child runs all further commands; returns its process id."""
    if _fork(bare) != 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def _fork(bare: bool) -> int:
    with _fork_beside_threads():
        return int(ctypes.PyDLL(None).fork()) if bare else os.fork()


@contextmanager
def _fork_beside_threads() -> Iterator[None]:
    """Ignores Python's warning about a fork beside other threads, which the tests need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def in_pool(method: str, commands: list[Command]) -> list[Any]:
    """Runs commands in a child of `multiprocessing`."""
    context: Any = multiprocessing.get_context(method)
    with _fork_beside_threads(), context.Pool(1, initializer=set_up) as pool:
        return [pool.apply(run, [command]) for command in commands]


def exit_by(how: str) -> None:
    ways: dict[str, Callable[[], object]] = {
        "sys.exit": lambda: sys.exit(3),
        "os._exit": lambda: os._exit(3),
        "uncaught": lambda: 1 / 0,
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    ways[how]()


def migrate() -> None:
    call_command("migrate", verbosity=0)
    connection.close()


def create_enabled_flag(key: str) -> None:
    from flagstaff.models import FeatureFlag

    FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)
    connection.close()


def call(path: str, *arguments: Any) -> Any:
    """Calls a function that only one test file needs, and closes the connection of Django."""
    try:
        return import_string(path)(*arguments)
    finally:
        connection.close()


_BY_NAME: list[Callable[..., Any]] = [
    *(
        until,
        survey,
        ready,
        has_logged,
        follow,
        last_followed,
        followed,
        watched,
        reload_constantly,
    ),
    *(in_threads, in_fork, continue_in_fork, in_pool, migrate, create_enabled_flag, call),
]
COMMANDS: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in _BY_NAME},
    "flag_enabled": lambda key, user=None, default=False: flagstaff.flag_enabled(
        key, user, default=default
    ),
    "get_value": lambda key, default=None, user=None: flagstaff.get_value(key, default, user=user),
    "explain": lambda key, user=None: asdict(flagstaff.explain(key, user)),
    "reason_of": lambda key, user=None: flagstaff.explain(key, user).reason,
    "status": lambda: vars(flagstaff.status()),
    "field": lambda name: getattr(flagstaff.status(), name),
    "problems": lambda: sorted(flagstaff.status().problems),
    "mode": lambda: flagstaff.status().mode,
    "failed": lambda times: flagstaff.status().failures >= times,
    "last_error_has": lambda text: text in (flagstaff.status().last_error or ""),
    "fresh": lambda age: (flagstaff.status().age or 0) <= age,
    "refresh": lambda timeout=30.0: flagstaff.refresh(timeout),
    "logged": lambda: _logged,
    "watch": follow,
    "exit": exit_by,
    "pid": os.getpid,
}


def main() -> None:
    set_up()
    for line in sys.stdin:
        try:
            answer = {"result": run(json.loads(line))}
        except ZeroDivisionError:
            raise
        except Exception as error:  # noqa: BLE001 (reported to the test)
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201 (the result)


if __name__ == "__main__":
    main()
