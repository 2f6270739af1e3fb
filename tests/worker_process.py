"""What `tests.workers.Worker` runs: each line of the input is a command, answered by a line."""

from __future__ import annotations

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

Question = list[Any]

_logged: list[list[str]] = []
_watch = threading.Event()
_seen: list[Any] = []
_followed: list[list[Any]] = []
_threads: list[threading.Thread] = []


class _Listing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _logged.append([record.levelname, record.getMessage()])


def set_up() -> None:
    django.setup()
    settings.FLAGSTAFF = json.loads(os.environ["FLAGSTAFF"])
    logging.getLogger("flagstaff").addHandler(_Listing())


def answer(question: Question) -> Any:
    name, *arguments = question
    return COMMANDS[name](*arguments)


def until(question: Question, expected: Any, limit: float) -> float | None:
    """Ask each millisecond; the seconds until the answer added, None where it has not."""
    begun = time.monotonic()
    while answer(question) != expected:
        if time.monotonic() - begun > limit:
            return None
        time.sleep(0.001)
    return time.monotonic() - begun


def survey(key: str, users: int) -> list[int]:
    """The users that have the flag, by the pks from 0 on."""
    return [user for user in range(users) if flagstaff.flag_enabled(key, user)]


def tells(times: int) -> bool:
    """Whether so many lines have been logged; questions do it in passing."""
    flagstaff.flag_enabled("new_checkout")
    return len(_logged) >= times


def watch(question: Question) -> None:
    """Ask again and again in a thread, until `watched` wants to know which answers there were."""
    _watch.clear()
    _seen.clear()

    def look() -> None:
        over = False
        while not over:
            # What can be seen when it is called off is seen.
            over = _watch.is_set()
            found = answer(question)
            if found not in _seen:
                _seen.append(found)
            time.sleep(0.0002)

    _begin(look)


def follow(question: Question) -> None:
    """Note in a thread, until `followed` is called, when each new answer was first given."""
    _watch.clear()
    _followed.clear()

    def look() -> None:
        while not _watch.is_set():
            found = answer(question)
            if not _followed or _followed[-1][1] != found:
                _followed.append([time.monotonic(), found])
            time.sleep(0.0002)

    _begin(look)


def followed() -> list[list[Any]]:
    """The answers one after the other, each with its moment on the clock of all processes."""
    watched()
    return _followed


def reload_constantly() -> None:
    """Load everything again and again in a thread, until `watched` is called."""

    def reload() -> None:
        while not _watch.is_set():
            flagstaff.refresh()

    _begin(reload)


def watched() -> list[Any]:
    _watch.set()
    while _threads:
        _threads.pop().join()
    return _seen


def _begin(work: Callable[[], None]) -> None:
    _threads.append(threading.Thread(target=work, daemon=True))
    _threads[-1].start()


def together(count: int, question: Question) -> list[Any]:
    """What as many threads are answered that ask at the same moment."""
    barrier, answers = threading.Barrier(count), []

    def ask() -> None:
        barrier.wait()
        answers.append(answer(question))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def in_fork(how: str, questions: list[Question], bare: bool = False) -> list[Any]:
    """What a forked child answers, before it leaves in this way.

    A bare fork is none of Python's, which then runs none of its hooks: uWSGI forks so.
    """
    reading, writing = os.pipe()
    with _many_threads():
        pid = ctypes.PyDLL(None).fork() if bare else os.fork()
    if pid == 0:
        os.write(writing, json.dumps([answer(question) for question in questions]).encode())
        os.close(writing)
        leave(how)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answers = pipe.read()
    os.waitpid(pid, 0)
    return list(json.loads(answers))


@contextmanager
def _many_threads() -> Iterator[None]:
    """Python warns of a fork beside other threads; that ours does no harm is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def in_pool(method: str, questions: list[Question]) -> list[Any]:
    """What a child of `multiprocessing` answers."""
    context: Any = multiprocessing.get_context(method)
    with _many_threads(), context.Pool(1, initializer=set_up) as pool:
        return [pool.apply(answer, [question]) for question in questions]


def leave(how: str) -> None:
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


def switch_on(key: str) -> None:
    from flagstaff.models import FeatureFlag

    FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)
    connection.close()


COMMANDS: dict[str, Callable[..., Any]] = {
    "flag_enabled": lambda key, user=None, default=False: flagstaff.flag_enabled(
        key, user, default=default
    ),
    "get_value": lambda key, default=None: flagstaff.get_value(key, default),
    "explain": lambda key, user=None: asdict(flagstaff.explain(key, user)),
    "status": lambda: flagstaff.status().as_dict(),
    "mode": lambda: flagstaff.status().mode,
    "failed": lambda times: flagstaff.status().failures >= times,
    "fresh": lambda age: (flagstaff.status().age or 0) <= age,
    "ready": lambda timeout=None: flagstaff.ready(timeout),
    "refresh": lambda timeout=5.0: flagstaff.refresh(timeout),
    "logged": lambda: _logged,
    "tells": tells,
    "until": until,
    "survey": survey,
    "watch": watch,
    "watched": watched,
    "follow": follow,
    "followed": followed,
    "reload_constantly": reload_constantly,
    "together": together,
    "in_fork": in_fork,
    "in_pool": in_pool,
    "leave": leave,
    "migrate": migrate,
    "switch_on": switch_on,
    "pid": os.getpid,
    # What only one file of tests needs stands beside it.
    "call": lambda path, *arguments: import_string(path)(*arguments),
}


def main() -> None:
    set_up()
    for line in sys.stdin:
        try:
            found = {"answer": answer(json.loads(line))}
        except ZeroDivisionError:
            raise
        except Exception as error:  # noqa: BLE001 (the other side wants to know)
            found = {"error": repr(error)}
        print(json.dumps(found), flush=True)  # noqa: T201 (the answer)


if __name__ == "__main__":
    main()
