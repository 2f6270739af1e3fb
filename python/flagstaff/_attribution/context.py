"""The attribution of the current thread or task: the actor, source and reason of its writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner

from flagstaff._tables.user_lookup import ACTS_AS
from flagstaff._words.text import storable

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


def actor_of(request: Any) -> object:
    """Returns the user of a request. If an operator acts as the user, returns both: "1 as 42"."""
    user = getattr(request, "user", None)
    operator = _operator_of(getattr(request, "session", {}))
    pk = None if operator is None else getattr(user, "pk", None)
    return user if pk is None else f"{operator}{ACTS_AS}{pk}"


def _operator_of(session: Mapping[str, Any]) -> str | None:
    """Returns the primary key that django-hijack or django-loginas keeps of the operator."""
    # The first one: an operator may act as a user who acts as another.
    if history := session.get("hijack_history"):
        return str(history[0])
    signed = session.get(getattr(settings, "LOGINAS_FROM_USER_SESSION_FLAG", "loginas_from_user"))
    try:
        return TimestampSigner().unsign(signed) if signed else None
    except BadSignature:
        return None


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
    """Returns the source that the present changes are attributed to, or an empty text."""
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
