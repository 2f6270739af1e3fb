"""Who acts, and through which source, as far as this thread or task has been told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Attribution", "attributed", "attribution", "current_attribution"]

#: What the history is to say of a change. A function, because a lazy `request.user` is read only
#: when something is written.
Attribution = Callable[[], dict[str, str]]

_current: ContextVar[Attribution | None] = ContextVar("flagstaff_claimed", default=None)


def attribution(actor: Any = None, *, source: str = "", reason: str = "") -> dict[str, str]:
    """A claim as the triggers read it: the primary key of a user, or a name as it is."""
    pk = getattr(actor, "pk", actor)
    return {
        "flagstaff.actor": "" if pk is None else str(pk),
        "flagstaff.source": source,
        "flagstaff.reason": reason,
    }


def current_attribution() -> Attribution | None:
    """What the history is to say, if anybody has said so."""
    return _current.get()


@contextmanager
def attributed(what: Attribution | None) -> Iterator[None]:
    """Note what the history is to say of changes while the block runs."""
    token = _current.set(what)
    try:
        yield
    finally:
        _current.reset(token)
