"""Evaluations under load, run by a worker ("call")."""

import resource
import threading
import time
from typing import Any

import flagstaff

_stopped = threading.Event()
_threads: list[threading.Thread] = []
_figures: dict[str, Any] = {}


def start(rate: int) -> None:
    """Evaluates a flag and a value `rate` times a second in a thread, until `stop` is called."""
    _stopped.clear()
    _figures.update(evaluations=0, results=[], errors=[], started=time.monotonic())
    _threads.append(threading.Thread(target=_evaluate, args=[rate], daemon=True))
    _threads[-1].start()


def stop() -> dict[str, Any]:
    """Returns the number of evaluations, their distinct results, the errors and the seconds."""
    _stopped.set()
    _threads.pop().join()
    _figures["seconds"] = time.monotonic() - _figures["started"]
    return _figures


def _evaluate(rate: int) -> None:
    results = _figures["results"]
    while not _stopped.is_set():
        due = int((time.monotonic() - _figures["started"]) * rate)
        for _ in range(due - _figures["evaluations"]):
            try:
                # The database has True and "stripe".
                result = [
                    flagstaff.flag_enabled("new_checkout", 3),
                    flagstaff.get_value("gateway", "the default"),
                ]
            except Exception as error:  # noqa: BLE001 (the test asserts that there is none)
                result = None
                _figures["errors"].append(repr(error))
            if result not in results:
                results.append(result)
        _figures["evaluations"] = due
        time.sleep(0.001)


def count_voluntary_switches(seconds: float) -> list[int]:
    """Evaluates for some seconds; returns the evaluations and the voluntary context switches.

    A thread switches voluntarily when it waits for a lock, a socket or the interpreter. Preemption
    by the machine is counted elsewhere.
    """
    until, evaluations = time.monotonic() + seconds, 0
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    while time.monotonic() < until:
        flagstaff.flag_enabled("new_checkout", evaluations)
        evaluations += 1
    return [evaluations, resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before]
