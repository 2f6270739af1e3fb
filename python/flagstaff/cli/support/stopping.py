"""SIGTERM and SIGINT as an event, for a verb that runs in a loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

__all__ = ["stop_on_signals"]


class _SignalSafeEvent(threading.Event):
    """An event that a signal handler may set.

    `threading.Event.set` takes a lock. It deadlocks if the signal interrupts the same thread while
    `wait` holds that lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        # SimpleQueue.put is reentrant, unlike every other queue's.
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        with suppress(Empty):
            if not self._is_set:
                self._wake.get(timeout=timeout)
        return self._is_set


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Gives an event that SIGTERM and SIGINT set. Outside the main thread no signal sets it."""
    stop = _SignalSafeEvent()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
