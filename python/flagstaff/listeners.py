"""Listeners: functions that are called after each evaluation of one key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from flagstaff._core import Evaluation, set_listeners

__all__ = ["Evaluation", "Listener", "add"]

Listener: TypeAlias = Callable[[Evaluation], object]

# One entry for each call of `add`, because a function may be added twice.
_added: list[tuple[object, Listener]] = []


def add(listener: Listener) -> Callable[[], None]:
    """Calls a function after each evaluation of this process, and returns what removes it.

        remove = listeners.add(lambda evaluation: print(evaluation.key, evaluation.value))

    It is called for flags, values and variants, also for overrides, forced-off flags and unknown
    keys; not for `all_flags` and `explain`, and not for evaluations that a listener makes. It runs
    in the caller's thread or event loop and delays the caller, so it must not block. Its first
    exception is logged. A snapshot that was taken before the first `add` does not call it. Raises
    TypeError if the listener is not callable.
    """
    if not callable(listener):
        raise TypeError(f"a listener must be a function, not {listener!r}")
    entry = (object(), listener)
    _added.append(entry)
    _set()

    def remove() -> None:
        if entry in _added:
            _added.remove(entry)
            _set()

    return remove


def _set() -> None:
    # Without a lock, which a fork could leave locked: the thread that sets last has seen all.
    while True:
        entries = [*_added]
        set_listeners(tuple(listener for _, listener in entries))
        if entries == _added:
            return
