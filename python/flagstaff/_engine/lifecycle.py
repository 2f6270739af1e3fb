"""The engine of this process: started from settings, restarted after a fork, stopped at exit."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, cast

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from django.db import connections

from flagstaff import _core
from flagstaff._connection.parameters import connection_parameters
from flagstaff._engine import direct
from flagstaff._engine.process_hooks import (
    call_after_fork,
    call_at_exit,
    call_at_exit_of_child,
)
from flagstaff._engine.status_log import Report, StatusLog, logger
from flagstaff._tables.decoding import decoder, is_plain_json, value_field
from flagstaff._tables.names import names
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError, UnknownFlagError, UnknownValueError

__all__ = [
    "after_fork",
    "aready",
    "begin",
    "close",
    "decode",
    "look_after",
    "ready",
    "refresh",
    "tell_unknown",
]

# All in seconds. The sleep is short enough to go unnoticed, and gevent can see it.
_SLEEP = 0.002
_SHUTDOWN_TIMEOUT = 1.0
# Limits reconnects if the source of passwords returns a different one each time.
_RECONFIGURE_INTERVAL = 2.0
# Code may build keys from user input, so their number has no limit of its own.
_MAX_UNKNOWN_LOGGED = 1000


class _Process:
    """The state of this process. A forked child starts with a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid: int | None = None
        self.is_direct = False
        self.reports_unknown = False
        self.load_deadline = 0.0
        self.decode: Callable[[str], Any] | None = None
        self.status_log = StatusLog()
        self.reconfigure_after = 0.0
        self.unknown_logged: set[tuple[str, str]] = set()


_process = _Process()
_thread = threading.local()


def begin(*, in_memory: bool = False) -> None:
    """Chooses the evaluation mode, and waits for the first load if it is memory.

    The first evaluation of a process calls this. Evaluations that other threads make meanwhile
    call it too, and wait as well. Under a test runner and on databases other than PostgreSQL the
    mode is direct, unless `in_memory` is set.

    Blocks for at most STARTUP_TIMEOUT. Raises ConfigurationError if the settings are not usable.
    """
    if not _choose_mode(in_memory=in_memory):
        return
    process = _process
    _wait(process.load_deadline - time.monotonic())
    if process.pid == os.getpid():
        _core.answer_from_memory(process.reports_unknown)
        process.status_log.note_late_start(_report())


def _choose_mode(*, in_memory: bool = False) -> bool:
    """Starts the engine if necessary. Returns False if there is no engine to wait for."""
    process = _process
    if process.pid != os.getpid():
        if getattr(_thread, "is_beginning", False):
            # Code that is read to begin evaluates a flag itself, such as a router or a signal.
            return False
        _thread.is_beginning = True
        try:
            _begin(process, in_memory=in_memory)
        finally:
            _thread.is_beginning = False
    return not process.is_direct


def _begin(process: _Process, *, in_memory: bool) -> None:
    # Everything is read before the lock. Reading settings may import modules, and a module that
    # evaluates a flag during its import would deadlock on the import lock.
    is_direct = direct.is_required() and not in_memory
    reports_unknown, timeout = conf.unknown_key != "ignore", conf.startup_timeout
    start = _core.answer_directly if is_direct else _engine_starter()
    with process.lock:
        if process.pid == os.getpid():
            return
        start(reports_unknown)
        process.is_direct, process.reports_unknown = is_direct, reports_unknown
        process.load_deadline = time.monotonic() + timeout
        # Last: an exception in the wait that follows must not make the next evaluation start again.
        process.pid = os.getpid()
    call_at_exit_of_child(_shut_down)


def close(timeout: float = _SHUTDOWN_TIMEOUT) -> bool:
    """Stops the engine and closes its connections. The next evaluation starts it again.

    Blocks for at most `timeout` seconds, and returns True if everything has stopped.
    """
    with _process.lock:
        _process.pid, _process.decode = None, None
        # What follows is a start, not a recovery.
        _process.status_log = StatusLog()
        return _core.stop(timeout)


def ready(timeout: float | None = None) -> bool:
    """Waits for the first load, and returns True if there is a snapshot.

    Blocks for at most `timeout` seconds, by default STARTUP_TIMEOUT; use `aready` in an event
    loop. Without this call, the first evaluation waits.
    """
    if _choose_mode():
        _wait(conf.startup_timeout if timeout is None else timeout)
    return bool(_core.report()["ready"])


async def aready(timeout: float | None = None) -> bool:
    """Waits as `ready` does, without blocking the event loop."""
    # Reading settings may block, so it runs in a thread. The wait does not: threads are few, and a
    # loop does not end before its threads do.
    if await sync_to_async(_choose_mode, thread_sensitive=False)():
        limit = conf.startup_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        # The load runs outside Python, so nothing can set an event.
        while _core.is_waiting() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_SLEEP)
    return bool(_core.report()["ready"])


def refresh(timeout: float = 5.0) -> None:
    """Loads now: later evaluations of this process see everything committed before the call.

    For scripts, and for tests with several processes; a web worker does not need it. Blocks for at
    most `timeout` seconds. Raises RefreshError if the load fails; the last snapshot stays in use.
    """
    begin()
    if not _process.is_direct:
        _reconfigure()
    _core.refresh(timeout)


def decode(text: str) -> Any:
    """Returns the Python value of a JSON text, as the model's field decodes it."""
    if _process.decode is None:
        _process.decode = decoder()
    return _process.decode(text)


def tell_unknown(key: str, what: Literal["flag", "value"]) -> None:
    """Raises, or logs once, that an unknown key was evaluated; UNKNOWN_KEY decides which.

    Raises UnknownFlagError or UnknownValueError.
    """
    error = UnknownFlagError if what == "flag" else UnknownValueError
    message = (
        f"there is no {what} {key!r}; create it in the admin, "
        f'or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'
    )
    if conf.unknown_key == "raise":
        raise error(message)
    logged = _process.unknown_logged
    if (
        conf.unknown_key == "warn"
        and len(logged) < _MAX_UNKNOWN_LOGGED
        and (what, key) not in logged
    ):
        logged.add((what, key))
        logger.warning(message)
        if len(logged) == _MAX_UNKNOWN_LOGGED:
            logger.warning("%d unknown keys were logged; no more will be", _MAX_UNKNOWN_LOGGED)


def look_after() -> None:
    """Logs changes of state, and reads new connection parameters if the login was refused.

    Evaluations call this from time to time and after each event, because the engine itself never
    calls Python. Raises nothing.
    """
    process = _process
    if _core.is_refused() and time.monotonic() >= process.reconfigure_after:
        process.reconfigure_after = time.monotonic() + _RECONFIGURE_INTERVAL
        _reconfigure()
    process.status_log.note(_report())


def _reconfigure() -> None:
    """Reads the connection parameters again: a file or a service may have a new password."""
    problem = None
    try:
        _core.reconfigure(connection_parameters(connections[conf.engine_database]))
    except ConfigurationError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 (the project's own code; the text may hold a secret)
        problem = type(error).__name__
    _process.status_log.note_parameters_error(problem)


def _report() -> Report:
    return cast("Report", _core.report())


def _engine_starter() -> Callable[[bool], None]:
    """Returns a function that starts the engine, with everything read in advance."""
    connection = connections[conf.engine_database]
    parameters, quoted = connection_parameters(connection), names(connection)
    opaque_values, listen = not is_plain_json(value_field()), conf.listen
    poll_interval, pool_size = conf.poll_interval, conf.pool_size
    max_staleness, usage_interval = conf.max_staleness, conf.usage_interval

    def start(_reports_unknown: bool) -> None:  # noqa: FBT001 (the signature of answer_directly)
        _core.start(
            parameters,
            quoted,
            opaque_values=opaque_values,
            listen=listen,
            poll_interval=poll_interval,
            pool_size=pool_size,
            max_staleness=max_staleness,
            usage_interval=usage_interval,
            host=socket.gethostname(),
        )

    return start


def _wait(timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while _core.is_waiting() and time.monotonic() < deadline:
        time.sleep(_SLEEP)


def _shut_down() -> None:
    _core.farewell(_SHUTDOWN_TIMEOUT)


def after_fork() -> None:
    """Resets a forked child, which keeps the inherited snapshot until its own first load."""
    global _process  # noqa: PLW0603 (the parent's lock may never be released)
    _process = _Process()
    _core.forked()
    direct.reset_own_writes()


def _after_setting(*, setting: str, **kwargs: object) -> None:
    if setting == "FLAGSTAFF":
        _process.decode = None


setting_changed.connect(_after_setting)
call_after_fork(after_fork)
call_at_exit(_shut_down)
