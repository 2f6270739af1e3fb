"""SIGTERM and SIGINT as an event, for a verb that runs in a loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socketpair

from flagstaff._core import monotonic


class _SignalSafeEvent(threading.Event):
    """An event that a signal handler may set.

    `threading.Event.set` takes a lock. It deadlocks if the signal interrupts the same thread while
    `wait` holds that lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._wake, self.waker = socketpair()
        self.waker.settimeout(0)

    def set(self) -> None:
        self._is_set = True
        with suppress(BlockingIOError):
            self.waker.send(b"\0")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else monotonic() + timeout
        with suppress(TimeoutError, BlockingIOError):
            # Signals with another handler wake it, too.
            while not self._is_set:
                self._wake.settimeout(None if deadline is None else max(0, deadline - monotonic()))
                self._wake.recv(1)
        return self._is_set

    def close(self) -> None:
        self._wake.close()
        self.waker.close()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Gives an event that SIGTERM and SIGINT set. Outside the main thread no signal sets it."""
    stop = _SignalSafeEvent()
    try:
        if threading.current_thread() is threading.main_thread():
            with _set_by_signals(stop):
                yield stop
        else:
            yield stop
    finally:
        stop.close()


@contextmanager
def _set_by_signals(stop: _SignalSafeEvent) -> Iterator[None]:
    # A signal just before a system call does not interrupt it, but what it writes here does.
    waker = signal.set_wakeup_fd(stop.waker.fileno(), warn_on_full_buffer=False)
    previous = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waker)
