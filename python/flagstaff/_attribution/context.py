"""The attribution of the current thread or task: the actor, source and reason of its writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Attribution", "attributed", "attribution", "current_attribution"]

#: Returns the attribution of a write. A function, so that a lazy `request.user` is loaded only if
#: something is written.
Attribution = Callable[[], dict[str, str]]

_current: ContextVar[Attribution | None] = ContextVar("flagstaff_attribution", default=None)


def attribution(actor: object = None, *, source: str = "", reason: str = "") -> dict[str, str]:
    """Returns the configuration parameters that the triggers read.

    `actor` is a user, of which the primary key is taken, or a name.
    """
    pk = getattr(actor, "pk", actor)
    return {
        "flagstaff.actor": "" if pk is None else str(pk),
        "flagstaff.source": source,
        "flagstaff.reason": reason,
    }


def current_attribution() -> Attribution | None:
    """Returns the current attribution, or None outside `attributed`."""
    return _current.get()


@contextmanager
def attributed(current: Attribution | None) -> Iterator[None]:
    """Attributes the writes in the block. None attributes them to no actor."""
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)
