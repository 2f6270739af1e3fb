"""The one engine of this process: made from settings, remade after a fork, closed at the end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from django.db import connections

from flagstaff import _core, direct
from flagstaff.conf import conf
from flagstaff.connection import connection_settings
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.tables import names
from flagstaff.values import decoder, is_plain_json, value_field

__all__ = ["aready", "begin", "close", "decode", "look_after", "ready", "refresh", "tell_unknown"]

logger = logging.getLogger("flagstaff")

# Short enough to go unnoticed, and a sleep that gevent can see.
_NAP = 0.002
_FAREWELL = 1.0


class _Process:
    """What this process has begun. A forked child starts with a new one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pid: int | None = None
        self.decode: Callable[[str], Any] | None = None
        self.logged_mode = "live"
        self.told: set[tuple[str, str]] = set()


_process = _Process()


def begin(*, in_memory: bool = False) -> None:
    """Decide where questions are answered, and wait for the first load if that is in memory.

    The first question of a process calls this. A second thread's waits here for the first's.
    Under a test runner and on other databases than PostgreSQL questions are answered directly,
    unless `in_memory` is set.

    Raises ConfigurationError where the settings cannot be used.
    """
    process = _process
    with process.lock:
        if process.pid == os.getpid():
            return
        tell = conf.unknown_key != "ignore"
        if direct.is_called_for() and not in_memory:
            _core.answer_directly(tell)
        else:
            _start()
            _wait(conf.startup_timeout)
            _core.answer_from_memory(tell)
            _log_a_late_start()
        process.pid = os.getpid()


def close(timeout: float = _FAREWELL) -> bool:
    """End the engine and its connections. The next question begins anew.

    Waits for at most `timeout` seconds, and says whether all has ended.
    """
    with _process.lock:
        _process.pid, _process.decode = None, None
        return _core.stop(timeout)


def ready(timeout: float | None = None) -> bool:
    """Wait for the first load, and say whether there is one.

    Waits for at most `timeout` seconds, by default STARTUP_TIMEOUT. Blocks; use `aready` where
    an event loop runs. Without it, the first question waits.
    """
    begin()
    return _wait(conf.startup_timeout if timeout is None else timeout)


async def aready(timeout: float | None = None) -> bool:
    """Wait as `ready` does, without blocking the event loop."""
    return await sync_to_async(ready, thread_sensitive=False)(timeout)


def refresh(timeout: float = 5.0) -> None:
    """Load now: afterwards this process answers with all that was committed before the call.

    For scripts and for tests of several processes; a web worker has no need of it. Blocks for at
    most `timeout` seconds. Raises RefreshError where the load fails; the last good answers stay.
    """
    begin()
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
    if conf.unknown_key == "warn" and (what, key) not in _process.told:
        _process.told.add((what, key))
        logger.warning(message)


def look_after() -> None:
    """Log a change of state. Now and then a question calls this; the engine itself never logs."""
    report = _core.report()
    mode = report["mode"]
    if mode == _process.logged_mode or mode in ("idle", "starting", "direct"):
        return
    if mode == "down":
        logger.warning("flags are kept from the last load: %s", report["last_error"])
    elif _process.logged_mode == "down":
        logger.warning("flags are up to date again (%s)", mode)
    _process.logged_mode = mode


def _start() -> None:
    connection = connections[conf.engine_database]
    _core.start(
        connection_settings(connection),
        names(connection),
        opaque_values=not is_plain_json(value_field()),
        listen=conf.listen,
        poll_interval=conf.poll_interval,
        pool_size=conf.pool_size,
    )


def _wait(timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while _core.is_waiting() and time.monotonic() < deadline:
        time.sleep(_NAP)
    return bool(_core.report()["ready"])


def _log_a_late_start() -> None:
    report = _core.report()
    if not report["ready"]:
        why = report["last_error"] or "the first load takes longer than STARTUP_TIMEOUT"
        logger.warning("flags are not loaded yet, questions answer their default: %s", why)
        _process.logged_mode = "down"


def _after_fork() -> None:
    global _process  # noqa: PLW0603 (the parent's lock may be held for ever)
    _process = _Process()
    _core.forked()


def _after_setting(*, setting: str, **kwargs: Any) -> None:
    if setting == "FLAGSTAFF":
        _process.decode = None


setting_changed.connect(_after_setting)
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_core.stop, _FAREWELL)
