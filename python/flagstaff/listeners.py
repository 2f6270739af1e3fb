"""Listeners: functions that are called after each evaluation of one key."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flagstaff._core import Resolution, set_listening
from flagstaff._log import report_listener


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, as listeners receive it."""

    kind: Literal["flag", "value", "variant"]
    #: The key that the code has passed.
    key: str
    #: What the caller gets, and a mask in place of a secret value. Do not change it.
    value: Any
    #: These are as in `Resolution`.
    reason: str
    error_code: str | None
    variant: str | None
    rule: int | None


Listener: TypeAlias = Callable[[Evaluation], object]

# One entry for each call of `add`, because a function may be added twice.
_added: list[tuple[object, Listener]] = []
# Whether a listener runs: what it evaluates calls no listener. A listener may let another greenlet
# of its thread run.
_notifying: ContextVar[bool] = ContextVar("flagstaff_notifying", default=False)


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
        is_listening = bool(_added)
        set_listening(is_listening)
        if is_listening == bool(_added):
            return


def notify(
    kind: Literal["flag", "value", "variant"], key: str, resolution: Resolution[Any]
) -> None:
    """Calls each listener. One that raises is logged once. Called by the extension."""
    if _notifying.get():
        return
    token = _notifying.set(True)
    try:
        evaluation = Evaluation(
            kind,
            key,
            resolution.value,
            resolution.reason,
            resolution.error_code,
            resolution.variant,
            resolution.rule,
        )
        for _, listener in [*_added]:
            _call(listener, evaluation)
    finally:
        _notifying.reset(token)


def _call(listener: Listener, evaluation: Evaluation) -> None:
    try:
        listener(evaluation)
    except Exception as error:  # noqa: BLE001 (the project's own code)
        report_listener(listener, error)
