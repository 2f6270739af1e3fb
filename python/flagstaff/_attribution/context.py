"""The attribution of the current thread or task: the actor, source and reason of its writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flagstaff._words.storable import storable

#: Returns the attribution of a write. A function, so that a lazy `request.user` is loaded only if
#: something is written.
Attribution = Callable[[], dict[str, str]]

_current: ContextVar[Attribution | None] = ContextVar("flagstaff_attribution", default=None)


def attribution(actor: object = None, *, source: str = "", reason: str = "") -> dict[str, str]:
    """Returns the configuration parameters that the triggers read.

    `actor` is a user, of which the primary key is taken, or a name. Characters that the server
    cannot store are replaced: they must not fail the change.
    """
    pk = getattr(actor, "pk", actor)
    return {
        "flagstaff.actor": "" if pk is None else storable(str(pk)),
        **_source(source),
        "flagstaff.reason": storable(reason),
    }


def current_attribution() -> Attribution | None:
    """Returns the current attribution, or None outside `attributed`."""
    return _current.get()


def current_actor() -> str:
    """Returns the actor that the present changes are attributed to, or an empty text."""
    return _current_value("flagstaff.actor")


def current_reason() -> str:
    """Returns the reason that the present changes are attributed with, or an empty text."""
    return _current_value("flagstaff.reason")


def current_source() -> str:
    """Returns where the present changes come from, such as "admin", or an empty text."""
    return _current_value("flagstaff.source")


@contextmanager
def attributed(current: Attribution | None) -> Iterator[None]:
    """Attributes the writes in the block. None attributes them to no actor."""
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def from_source(source: str) -> Iterator[None]:
    """Attributes the writes in the block to a source, with the present actor and reason."""
    current = current_attribution() or attribution
    with attributed(lambda: {**current(), **_source(source)}):
        yield


def _source(source: str) -> dict[str, str]:
    return {"flagstaff.source": storable(source)}


def _current_value(name: str) -> str:
    current = current_attribution()
    if current is None:
        return ""
    # Loading a lazy request.user may write, which has no actor.
    with attributed(None):
        return current()[name]
