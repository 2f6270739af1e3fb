"""Calls listeners when this process gets another snapshot, or loses or regains its connection.

A daemon thread waits for the engine, which never calls Python. It exists only while there is a
watch. A forked child has a thread of its own, which begins with what the parent has seen.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Lock, RLock, Thread
from typing import Literal, Protocol, TypeAlias

from flagstaff import _core
from flagstaff._engine import lifecycle

# A listener may be registered by code that has to finish first, which is a matter of microseconds.
_SETTLE = 0.05
_WAKE_UPS = 4096


class Listener(Protocol):
    """What is called, in the order of the changes, in the thread of the watch."""

    def became_ready(self) -> None:
        """Called after the first load, and when the connection is back."""

    def became_stale(self, why: str) -> None:
        """Called when the connection is lost. Evaluations go on with the last snapshot."""

    def changed(self, keys: list[str]) -> None:
        """Called with the keys of flags, values and experiments whose result can differ."""


_State: TypeAlias = Literal["starting", "not ready", "ready", "stale"]


class Watch:
    """What one listener knows about this process."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._comparing = Lock()
        self._snapshot: _core.Snapshot | None = None
        self.state: _State = "starting"

    def take_state(self) -> None:
        """Takes the present state as known."""
        self.state, self._snapshot = "not ready", None
        if _core.status_report()["ready"]:
            self.state, self._snapshot = "ready", _core.snapshot()

    def compare(self) -> None:
        """Calls the listener with what has changed since the last call."""
        with self._comparing:
            report = _core.status_report()
            mode = report["mode"]
            if self.state == "starting" or not report["ready"] or mode in {"idle", "starting"}:
                return
            if mode == "down":
                # A change that is loaded meanwhile is reported when the connection is back.
                if self.state == "ready":
                    why = str(report["mode_reason"] or "no connection")
                    self._call(partial(self._listener.became_stale, why), "stale", self._snapshot)
                return
            if self.state != "ready":
                self._call(self._listener.became_ready, "ready", self._snapshot)
            # It may run code of the project, so no fork waits for it.
            before, now = self._snapshot, _core.snapshot()
            keys = [] if before is None else now.changed_keys(before)
            self._call(partial(self._listener.changed, keys) if keys else None, "ready", now)

    def _call(
        self, call: Callable[[], None] | None, state: _State, snapshot: _core.Snapshot | None
    ) -> None:
        # A child that is forked before knows nothing of it; one that is forked later knows all.
        with _lock:
            if self in _watches:
                self.state, self._snapshot = state, snapshot
                if call is not None:
                    call()

    def reset_after_fork(self) -> None:
        """Resets the watch of a child, whose parent may be comparing or starting."""
        self._comparing = Lock()
        if self.state == "starting":
            # The thread that would have called `begin` does not exist in the child.
            self.state = "not ready"


_watches: list[Watch] = []
_signal: socket.socket | None = None
# Held while listeners are called: a fork would leave their locks locked in the child.
_lock = RLock()


def add(listener: Listener) -> Watch:
    """Adds a listener that is called from `begin` on, and in a forked child from its start on."""
    watch = Watch(listener)
    with _lock:
        _watches.append(watch)
    return watch


def begin(watch: Watch) -> None:
    """Begins to call the listener, with the present state as known. Does not block."""
    watch.take_state()
    with _lock:
        if watch in _watches:
            _start_thread()


def remove(watch: Watch) -> None:
    """Ends the calls: there is none after this function. Without a watch, the thread ends."""
    with _lock:
        if watch in _watches:
            _watches.remove(watch)
        if not _watches:
            _core.close_change_signal()


def _start_thread() -> None:
    """Starts a thread that compares now and after each change. It ends the earlier one.

    The workers of uWSGI start their own, and its master starts none: it forks without the GIL, and
    if a thread of the master holds that, the worker waits for it for ever.
    """
    global _signal  # noqa: PLW0603 (one thread per process)
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and uwsgi.masterpid() == os.getpid():
        return
    _signal = socket.socket(fileno=_core.open_change_signal())
    Thread(target=_run, args=(_signal,), name="flagstaff-changes", daemon=True).start()


def _run(signal: socket.socket) -> None:
    time.sleep(_SETTLE)
    with signal:
        _compare_all()
        # A blocking read, because gevent replaces it, and select() has a limit of 1024 descriptors.
        while signal.recv(_WAKE_UPS):
            _compare_all()


def _compare_all() -> None:
    for watch in tuple(_watches):
        watch.compare()


def _after_fork() -> None:
    """Starts the thread of a child, whose watches know what those of the parent have known."""
    if _signal is not None:
        # The extension has closed it, and its number may be that of another file.
        _signal.detach()
    # A fork without Python's hooks may leave it locked by a thread that does not exist here.
    if _lock.acquire(blocking=False):
        _lock.release()
    else:
        _lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001 (as `threading` does)
    if not _watches:
        return
    for watch in _watches:
        watch.reset_after_fork()
    _start_thread()
    if any(watch.state == "not ready" for watch in _watches):
        # The SDK evaluates nothing until it is ready, so nothing else would start the engine.
        Thread(target=_core.start, kwargs={"wait": False}, daemon=True).start()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)
lifecycle.fork_hooks.append(_after_fork)
