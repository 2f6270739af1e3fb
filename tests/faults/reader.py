"""What a worker is told to `call` when it is to ask a lot, and to say how that removed."""

from __future__ import annotations

import resource
import threading
import time
from hashlib import sha256
from statistics import median
from typing import Any

import flagstaff

__all__ = ["begin", "end", "latency", "waits"]

_end = threading.Event()
_threads: list[threading.Thread] = []
_found: dict[str, Any] = {}


def begin(rate: int) -> None:
    """Ask so many questions a second in a thread, until `end` is called."""
    _end.clear()
    _found.update(questions=0, answers=[], errors=[], began=time.monotonic())
    _threads.append(threading.Thread(target=_read, args=[rate], daemon=True))
    _threads[-1].start()


def end() -> dict[str, Any]:
    """The number of questions, the answers that there were, and what was raised."""
    _end.set()
    _threads.pop().join()
    _found["seconds"] = time.monotonic() - _found["began"]
    return _found


def _read(rate: int) -> None:
    answers = _found["answers"]
    while not _end.is_set():
        due = int((time.monotonic() - _found["began"]) * rate)
        for _ in range(due - _found["questions"]):
            try:
                # The database says True and "stripe".
                answer = [
                    flagstaff.flag_enabled("new_checkout", 3),
                    flagstaff.get_value("gateway", "the default"),
                ]
            except Exception as error:  # noqa: BLE001 (that there is none is what is tested)
                answer = None
                _found["errors"].append(repr(error))
            if answer not in answers:
                answers.append(answer)
        _found["questions"] = due
        time.sleep(0.001)


def latency(rounds: int = 20, questions: int = 5_000) -> float:
    """The 99th percentile of a question's time, over that of a digest taken in turn with it.

    Whatever else the machine does, it does to both. The median of some rounds.
    """
    return median(_ratio(questions) for _ in range(rounds))


def _ratio(questions: int) -> float:
    clock, ask = time.perf_counter_ns, flagstaff.flag_enabled
    asked, digested = [], []
    for user in range(questions):
        begun = clock()
        ask("new_checkout", user)
        between = clock()
        sha256(b"new_checkout").hexdigest()
        digested.append(clock() - between)
        asked.append(between - begun)
    return _percentile(asked) / _percentile(digested)


def _percentile(times: list[int]) -> int:
    return sorted(times)[len(times) * 99 // 100]


def waits(seconds: float) -> list[int]:
    """Ask all the time, and say how often, and how often the thread gave up the processor itself.

    It would do that to wait: for a lock, a socket, the interpreter. That the machine takes the
    processor away is counted elsewhere.
    """
    until, questions = time.monotonic() + seconds, 0
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    while time.monotonic() < until:
        flagstaff.flag_enabled("new_checkout", questions)
        questions += 1
    return [questions, resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before]
