"""Calls the guards that are functions of the project."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from django.db import connections
from django.utils.module_loading import import_string

from flagstaff._text import say, storable
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.steps_and_guards import FUNCTION, Guard

#: A guard that takes longer holds its plan. The other plans wait for it.
MAX_SECONDS: float = 30

_MAX_TEXT = 500


@dataclass(frozen=True)
class GuardOutcome:
    """What a function guard returned."""

    guard: Guard
    #: None: it raised an exception, or returned something else than True, False or a text.
    fine: bool | None
    why: str


def has_functions(plan: Plan) -> bool:
    """Whether a plan has function guards."""
    return any(guard.kind == FUNCTION for guard in plan.read_guards())


def call_guards(plan: Plan) -> tuple[GuardOutcome, ...]:
    """Calls the function guards of a plan, each with the plan. Blocks up to 30 s for each.

    To be called outside of a transaction, so that a slow function does not keep people's changes
    of the plan or of the flag waiting.
    """
    guards = plan.read_guards()
    return tuple(_call(guard, plan) for guard in guards if guard.kind == FUNCTION)


def _call(guard: Guard, plan: Plan) -> GuardOutcome:
    path = guard.path or ""

    def call() -> object:
        return import_string(path)(plan)

    try:
        returned = call_with_timeout(f"{plan.pk} {path}", call, MAX_SECONDS)
    except GuardTimeoutError:
        why = say(
            "{path} did not return within {seconds} s; make it faster",
            path=path,
            seconds=MAX_SECONDS,
        )
        return GuardOutcome(guard, None, why)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (sys.exit would end the driver of all plans)
        # Only the type: the message may quote data.
        why = say("{path} raised {type}; repair it", path=path, type=type(error).__name__)
        return GuardOutcome(guard, None, why)
    if returned is True:
        return GuardOutcome(guard, fine=True, why="")
    if returned is False:
        return GuardOutcome(guard, fine=False, why=say("{path} returned False", path=path))
    if isinstance(returned, str):
        text = storable(str.strip(returned)[:_MAX_TEXT])
        why = say("{path}: {returned}", path=path, returned=text)
        return GuardOutcome(guard, fine=False, why=why if text else path)
    why = say(
        "{path} returned {type}; return True, False or a text",
        path=path,
        type=type(returned).__name__,
    )
    return GuardOutcome(guard, None, why)


# Calls a function of the project in a thread of its own, so that it cannot stop the driver.

_lock = Lock()
#: The threads of functions that did not return in time, by name.
_late: dict[str, Thread] = {}


class GuardTimeoutError(Exception):
    """The function has not returned yet."""


def call_with_timeout(name: str, function: Callable[[], object], seconds: float) -> object:
    """Returns what a function returns, or raises what it raises, also SystemExit.

    Calls it in a thread with database connections of its own, so it may leave a transaction open.
    Blocks for at most `seconds`, and then raises GuardTimeoutError. The thread is not stopped, and
    until it ends, further calls with this name raise GuardTimeoutError at once.
    """
    with _lock:
        if (late := _late.pop(name, None)) is not None and late.is_alive():
            _late[name] = late
            raise GuardTimeoutError
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
        raise GuardTimeoutError from None
    thread.join(seconds)
    if error is not None:
        raise error
    return returned
