"""The one engine of this process: made from settings, remade after a fork, closed at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

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
from flagstaff._engine.status_log import StatusLog, logger
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

# Short enough to go unnoticed, and a sleep that gevent can see.
_NAP = 0.002
_FAREWELL = 1.0
# A source of passwords that gives another one each time must not make each question an attempt.
_BETWEEN_ATTEMPTS = 2.0
# Code may make keys from what users send, and then there is no end of them.
_MOST_TOLD = 1000


class _Process:
    """What this process has begun. A forked child starts with a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid: int | None = None
        self.answers_directly = False
        self.tells_unknown = False
        self.waits_until = 0.0
        self.decode: Callable[[str], Any] | None = None
        self.status_log = StatusLog()
        self.asks_anew_from = 0.0
        self.told: set[tuple[str, str]] = set()


_process = _Process()
_beginning = threading.local()


def begin(*, in_memory: bool = False) -> None:
    """Decide where questions are answered, and wait for the first load if that is in memory.

    The first question of a process calls this; those that come meanwhile call it too, and wait as
    it does. Under a test runner and on other databases than PostgreSQL questions are answered
    directly, unless `in_memory` is set.

    Raises ConfigurationError where the settings cannot be used.
    """
    if not _engine_is_begun(in_memory=in_memory):
        return
    process = _process
    _wait(process.waits_until - time.monotonic())
    if process.pid == os.getpid():
        _core.answer_from_memory(process.tells_unknown)
        process.status_log.note_late_start(_core.report())


def _engine_is_begun(*, in_memory: bool = False) -> bool:
    """Begin, where that is still to be done. False where there is no engine to wait for."""
    process = _process
    if process.pid != os.getpid():
        if getattr(_beginning, "now", False):
            # What is read to begin asks itself: a router, say, or the handler of a signal.
            return False
        _beginning.now = True
        try:
            _begin(process, in_memory=in_memory)
        finally:
            _beginning.now = False
    return not process.answers_directly


def _begin(process: _Process, *, in_memory: bool) -> None:
    # All that is read comes before the lock. Reading settings may import modules, and one that
    # asks while it is imported would wait for us with the import's lock in its hand.
    directly = direct.is_called_for() and not in_memory
    tells_unknown, timeout = conf.unknown_key != "ignore", conf.startup_timeout
    make = _core.answer_directly if directly else _maker()
    with process.lock:
        if process.pid == os.getpid():
            return
        make(tells_unknown)
        process.answers_directly, process.tells_unknown = directly, tells_unknown
        process.waits_until = time.monotonic() + timeout
        # Last: an exception in the wait that follows must not make the next question start anew.
        process.pid = os.getpid()
    call_at_exit_of_child(_say_farewell)


def close(timeout: float = _FAREWELL) -> bool:
    """End the engine and its connections. The next question begins anew.

    Waits for at most `timeout` seconds, and says whether all has ended.
    """
    with _process.lock:
        _process.pid, _process.decode = None, None
        # What follows is a start, and nothing that is up again.
        _process.status_log = StatusLog()
        return _core.stop(timeout)


def ready(timeout: float | None = None) -> bool:
    """Wait for the first load, and say whether there is one.

    Waits for at most `timeout` seconds, by default STARTUP_TIMEOUT. Blocks; use `aready` where
    an event loop runs. Without it, the first question waits.
    """
    if _engine_is_begun():
        _wait(conf.startup_timeout if timeout is None else timeout)
    return bool(_core.report()["ready"])


async def aready(timeout: float | None = None) -> bool:
    """Wait as `ready` does, without blocking the event loop."""
    # In a thread, for settings may come from afar. The wait is none of the thread's: a loop has
    # few of them, and does not end before they do.
    if await sync_to_async(_engine_is_begun, thread_sensitive=False)():
        limit = conf.startup_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        # No thread of Python's is there to set an event.
        while _core.is_waiting() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_NAP)
    return bool(_core.report()["ready"])


def refresh(timeout: float = 5.0) -> None:
    """Load now: afterwards this process answers with all that was committed before the call.

    For scripts and for tests of several processes; a web worker has no need of it. Blocks for at
    most `timeout` seconds. Raises RefreshError where the load fails; the last good answers stay.
    """
    begin()
    if not _process.answers_directly:
        _ask_anew_how_to_connect()
    _core.refresh(timeout)


def decode(text: str) -> Any:
    """The Python value of a JSON text, as the model's field makes it."""
    if _process.decode is None:
        _process.decode = decoder()
    return _process.decode(text)


def tell_unknown(key: str, what: Literal["flag", "value"]) -> None:
    """Raise, or warn once, about a question for a key that is not there.

    Raises UnknownFlagError or UnknownValueError where UNKNOWN_KEY is "raise".
    """
    error = UnknownFlagError if what == "flag" else UnknownValueError
    message = (
        f"there is no {what} {key!r}; create it in the admin, "
        f'or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'
    )
    if conf.unknown_key == "raise":
        raise error(message)
    told = _process.told
    if conf.unknown_key == "warn" and len(told) < _MOST_TOLD and (what, key) not in told:
        told.add((what, key))
        logger.warning(message)
        if len(told) == _MOST_TOLD:
            logger.warning("this was the last of %d unknown keys that are named", _MOST_TOLD)


def look_after() -> None:
    """Log what has happened, and bring new connection settings where the log-in was refused.

    A question calls this now and then, and after each event; the engine itself never logs, and
    never asks. Raises nothing.
    """
    process = _process
    if _core.is_refused() and time.monotonic() >= process.asks_anew_from:
        process.asks_anew_from = time.monotonic() + _BETWEEN_ATTEMPTS
        _ask_anew_how_to_connect()
    process.status_log.note(_core.report())


def _ask_anew_how_to_connect() -> None:
    """The password may be another one now: a file, an environment or a service gives it."""
    trouble = None
    try:
        _core.reconfigure(connection_parameters(connections[conf.engine_database]))
    except ConfigurationError as error:
        trouble = str(error)
    except Exception as error:  # noqa: BLE001 (a project's own code, and it may name a secret)
        trouble = type(error).__name__
    _process.status_log.note_trouble(trouble)


def _maker() -> Callable[[bool], None]:
    """What starts the engine, with all that it needs read already."""
    connection = connections[conf.engine_database]
    settings, quoted = connection_parameters(connection), names(connection)
    opaque_values, listen = not is_plain_json(value_field()), conf.listen
    poll_interval, pool_size = conf.poll_interval, conf.pool_size
    max_staleness, usage_interval = conf.max_staleness, conf.usage_interval

    def start(_tells_unknown: bool) -> None:  # noqa: FBT001 (called as the other source is)
        _core.start(
            settings,
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
        time.sleep(_NAP)


def _say_farewell() -> None:
    _core.farewell(_FAREWELL)


def after_fork() -> None:
    """Begin anew in a forked child, with the answers that it has inherited."""
    global _process  # noqa: PLW0603 (the parent's lock may be held for ever)
    _process = _Process()
    _core.forked()
    direct.count_readers_anew()


def _after_setting(*, setting: str, **kwargs: Any) -> None:
    if setting == "FLAGSTAFF":
        _process.decode = None


setting_changed.connect(_after_setting)
call_after_fork(after_fork)
call_at_exit(_say_farewell)
