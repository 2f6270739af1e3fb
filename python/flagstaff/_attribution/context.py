"""Who acts, and through which source, as far as this thread or task has been told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Claim", "claim", "claimed", "noted"]

#: What the history is to say of a change. A function, because a lazy `request.user` is read only
#: when something is written.
Claim = Callable[[], dict[str, str]]

_claimed: ContextVar[Claim | None] = ContextVar("flagstaff_claimed", default=None)


def claim(actor: Any = None, *, source: str = "", reason: str = "") -> dict[str, str]:
    """A claim as the triggers read it: the primary key of a user, or a name as it is."""
    pk = getattr(actor, "pk", actor)
    return {
        "flagstaff.actor": "" if pk is None else str(pk),
        "flagstaff.source": source,
        "flagstaff.reason": reason,
    }


def claimed() -> Claim | None:
    """What the history is to say, if anybody has said so."""
    return _claimed.get()


@contextmanager
def noted(what: Claim | None) -> Iterator[None]:
    """Note what the history is to say of changes while the block runs."""
    token = _claimed.set(what)
    try:
        yield
    finally:
        _claimed.reset(token)
