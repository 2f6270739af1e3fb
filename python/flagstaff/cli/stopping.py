"""SIGTERM and SIGINT as an event, for a verb that goes on until it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

__all__ = ["until_told_to_end"]


class _SignalledEvent(threading.Event):
    """An event that a signal may set at any moment.

    threading.Event takes a lock to be set. Where the signal comes while its own thread has that
    lock, to wait, neither ever goes on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_told = False
        # Of all queues this one may be put into amid another call of it.
        self._told: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._is_told = True
        self._told.put(None)

    def is_set(self) -> bool:
        return self._is_told

    def wait(self, timeout: float | None = None) -> bool:
        with suppress(Empty):
            if not self._is_told:
                self._told.get(timeout=timeout)
        return self._is_told


@contextmanager
def until_told_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that what is being done ends in order."""
    stop = _SignalledEvent()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
