"""For whom a request evaluates, and what its body may set: the trust boundary of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from flagstaff import _core
from flagstaff._engine.request_flags import RequestFlags, flags_of
from flagstaff._words.text import is_storable
from flagstaff.conf import conf
from flagstaff.contrib.ofrep.errors import OfrepError
from flagstaff.contrib.ofrep.request_body import context_of
from flagstaff.contrib.ofrep.settings import OFREP, hash_of
from flagstaff.typing import UserLike


class _Anonymous:
    """The user of a service that names none. With None, a value with rules would be reported."""

    pk = None


class _NoRequest:
    """In place of the request of a service: its cookies are not those of a visitor."""

    context = None


@dataclass(frozen=True)
class Caller:
    """A browser or a service, and the user for whom it evaluates."""

    snapshot: _core.Snapshot
    user: UserLike
    #: What rules may read beside the attributes of the user.
    context: dict[str, Any]
    #: Whether it may learn only what is for browsers.
    is_browser: bool

    def observed(self, request: HttpRequest) -> _core.Observation:
        """Returns a block for the evaluations. No rollout plan measures this request.

        The feature runs elsewhere, so errors and time of this request say nothing of it.
        """
        observed = flags_of(request) if self.is_browser else _NoRequest()
        return _core.Observation(observed, is_counted=False)


def caller_of(request: HttpRequest) -> Caller:
    """Returns who sends the request. Raises OfrepError if it may not, or if nothing is loaded."""
    is_browser = not is_service(request)
    given = context_of(request)
    caller = _browser(request, given) if is_browser else _service(given)
    if not caller.snapshot.ready:
        raise OfrepError(503, "PROVIDER_NOT_READY", "flagstaff has loaded nothing yet")
    return caller


def _browser(request: HttpRequest, given: dict[str, Any]) -> Caller:
    """Returns a browser. The session has its user: the body cannot name another one."""
    flags = flags_of(request)
    user: UserLike = getattr(request, "user", None)
    return Caller(flags.snapshot, user, _settable(given, flags), is_browser=True)


def _settable(given: dict[str, Any], flags: RequestFlags) -> dict[str, Any]:
    """Returns the attributes that a browser may set: none that the server knows better."""
    columns = conf.attributes.columns
    names = [name for name in OFREP.current().client_attributes if name in given]
    names = [name for name in names if name not in flags.context and name not in columns]
    # The unit decides the bucket, so a browser could choose its result.
    units = _core.client_side_units(flags.snapshot) if names else ()
    return {name: given[name] for name in names if name not in units}


def _service(given: dict[str, Any]) -> Caller:
    """Returns a service. It names the user by the primary key, which costs no query."""
    user = given.pop("targetingKey", None) or None
    if user is not None and not (isinstance(user, str) and is_storable(user)):
        raise OfrepError(400, "INVALID_CONTEXT", "targetingKey must be the text of a primary key")
    return Caller(_core.snapshot(), user or _Anonymous(), given, is_browser=False)


def is_service(request: HttpRequest) -> bool:
    """Whether a service sends the request. Raises OfrepError for a key that is not known.

    A request without a key is that of a browser. Another scheme of Authorization is for the
    project, such as the password of a staging site.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token if scheme.lower() == "bearer" else request.headers.get("X-API-Key")
    if key is None:
        return False
    given = hash_of(key.strip())
    # All of them: the time does not tell which one is equal.
    known = OFREP.current().keys.values()
    matches = [constant_time_compare(given, one) for one in known]
    if not any(matches):
        raise OfrepError(401, "GENERAL", "the key is not known", {"WWW-Authenticate": "Bearer"})
    return True
