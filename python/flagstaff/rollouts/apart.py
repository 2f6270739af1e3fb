"""Calls a function of the project in a thread of its own, so that it cannot stop the driver."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from django.db import connections

__all__ = ["LateError", "call_apart"]

_lock = Lock()
#: The threads of functions that did not return in time, by name.
_late: dict[str, Thread] = {}


class LateError(Exception):
    """The function has not returned yet."""


def call_apart(name: str, function: Callable[[], object], seconds: float) -> object:
    """Returns what a function returns, or raises what it raises, also SystemExit.

    Calls it in a thread with database connections of its own, so it may leave a transaction open.
    Blocks for at most `seconds`, and then raises LateError. The thread is not stopped, and until it
    ends, further calls with this name raise LateError at once.
    """
    with _lock:
        if (late := _late.pop(name, None)) is not None and late.is_alive():
            _late[name] = late
            raise LateError
    ended: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread of the caller)
            ended.put((None, error))
        finally:
            connections.close_all()

    thread = Thread(target=copy_context().run, args=(run,), name="flagstaff-guard", daemon=True)
    thread.start()
    try:
        returned, error = ended.get(timeout=seconds)
    except Empty:
        with _lock:
            _late[name] = thread
        raise LateError from None
    thread.join(seconds)
    if error is not None:
        raise error
    return returned
