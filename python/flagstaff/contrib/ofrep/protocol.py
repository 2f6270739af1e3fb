"""For whom a request evaluates, what its body may set, and the results as the protocol has them.

This is the trust boundary of the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from flagstaff import _core
from flagstaff._core import Resolution, is_storable, served_kind, served_values
from flagstaff._declared import json_of
from flagstaff._request.flags import RequestFlags, flags_of, without_request
from flagstaff.conf import conf
from flagstaff.contrib.ofrep.settings import CLIENT_ATTRIBUTES, KEYS, hash_of
from flagstaff.typing import UserLike

# The status of a request for one key that has no result, and the details.
_WITHOUT_RESULT = {
    "FLAG_NOT_FOUND": (404, "there is no flag, value or experiment with this key"),
    "PARSE_ERROR": (400, "the rules cannot be read"),
    "TYPE_MISMATCH": (400, "the value is not what code declares"),
    "PROVIDER_NOT_READY": (503, "flagstaff has loaded nothing yet"),
    "GENERAL": (503, "the database failed while the user or an attribute was read"),
}

_MAX_BYTES = 65_536

# The reasons that the protocol has. The others are in the metadata.
_REASONS = frozenset({"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED"})


class OfrepError(Exception):
    """The request has no result; the response says why."""

    def __init__(
        self, status: int, code: str, details: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(details)
        self.status = status
        self.headers = headers
        #: The code is one of OpenFeature. SDKs read the details without a default.
        self.body = {"errorCode": code, "errorDetails": details}


def no_result(code: str) -> OfrepError:
    """Returns the error of an evaluation with this code of OpenFeature."""
    status, details = _WITHOUT_RESULT[code]
    return OfrepError(status, code, details)


class _Anonymous:
    """The user of a service that names none. With None, a value with rules would be reported."""

    pk = None


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
        if self.is_browser:
            return _core.Observation(flags_of(request), is_counted=False)
        return without_request()


def caller_of(request: HttpRequest) -> Caller:
    """Returns who sends the request. Raises OfrepError if it may not, or if nothing is loaded."""
    is_browser = not is_service(request)
    context = _context_of(request)
    caller = _browser(request, context) if is_browser else _service(context)
    if not caller.snapshot.ready:
        raise no_result("PROVIDER_NOT_READY")
    return caller


def _context_of(request: HttpRequest) -> dict[str, Any]:
    """Returns the evaluation context in the body. Raises OfrepError if there is none."""
    # A form or a text of another site needs no preflight, and browsers send cookies with it.
    if request.content_type != "application/json":
        raise OfrepError(415, "GENERAL", "the content type must be application/json")
    try:
        # No more, whatever length the client claims.
        body = request.read(_MAX_BYTES + 1)
        document = json.loads(body) if len(body) <= _MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise OfrepError(400, "PARSE_ERROR", "the body is not valid JSON") from error
    if len(body) > _MAX_BYTES:
        raise OfrepError(413, "GENERAL", f"the body has more than {_MAX_BYTES} bytes")
    context = document.get("context") if isinstance(document, dict) else None
    if not isinstance(context, dict):
        raise OfrepError(400, "INVALID_CONTEXT", 'the body must have an object "context"')
    return context


def _browser(request: HttpRequest, context: dict[str, Any]) -> Caller:
    """Returns a browser. The session has its user: the body cannot name another one."""
    flags = flags_of(request)
    user: UserLike = getattr(request, "user", None)
    return Caller(flags.snapshot, user, _settable(context, flags), is_browser=True)


def _settable(context: dict[str, Any], flags: RequestFlags) -> dict[str, Any]:
    """Returns the attributes that a browser may set: none that the server knows better."""
    known = {*flags.context, *conf.attributes.columns, *conf.attributes.objects}
    names = [name for name in CLIENT_ATTRIBUTES.current() if name in context.keys() - known]
    # The unit decides the bucket, so a browser could choose its result.
    units = _core.client_side_units(flags.snapshot) if names else ()
    return {name: context[name] for name in names if name not in units}


def _service(context: dict[str, Any]) -> Caller:
    """Returns a service. It names the user by the primary key, which costs no query."""
    user = context.pop("targetingKey", None) or None
    if user is not None and not (isinstance(user, str) and is_storable(user)):
        raise OfrepError(400, "INVALID_CONTEXT", "targetingKey must be the text of a primary key")
    return Caller(_core.snapshot(), user or _Anonymous(), context, is_browser=False)


def is_service(request: HttpRequest) -> bool:
    """Whether a service sends the request. Raises OfrepError for a key that is not known.

    A request without a key is that of a browser. Another scheme of Authorization is for the
    project, such as the password of a staging site.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token if scheme.lower() == "bearer" else request.headers.get("X-API-Key")
    if key is None:
        return False
    digest = hash_of(key.strip())
    # All of them: the time does not tell which one is equal.
    matches = [
        constant_time_compare(digest, known_digest) for known_digest in KEYS.current().values()
    ]
    if not any(matches):
        raise OfrepError(401, "GENERAL", "the key is not known", {"WWW-Authenticate": "Bearer"})
    return True


def one_result(caller: Caller, key: str) -> bytes:
    """Returns the result of one key, which counts as an evaluation. Raises OfrepError.

    A key that the caller may not read has the error of an unknown one.
    """
    snapshot = caller.snapshot
    kind = served_kind(snapshot, key, client_side=caller.is_browser)
    if kind is None and caller.is_browser:
        # Not evaluated: a browser could fill the list of unknown keys.
        raise no_result("FLAG_NOT_FOUND")
    resolution: Resolution[Any]
    if kind == "value":
        resolution = snapshot.resolve_value(key, user=caller.user, context=caller.context)
    elif kind == "variant":
        resolution = snapshot.resolve_variant(key, caller.user, context=caller.context)
    else:
        resolution = snapshot.resolve_flag(key, caller.user, context=caller.context)
    return _result(caller, key, resolution)


def all_results(caller: Caller) -> bytes:
    """Returns the results of all flags and values that the caller may read.

    Experiments are not among them: which variants are shown is not known, so none is recorded.
    """
    snapshot, options = caller.snapshot, {"client_side": caller.is_browser}
    resolutions: dict[str, Resolution[Any]] = {
        **snapshot.resolve_all_flags(caller.user, context=caller.context, **options),
        **served_values(snapshot, caller.user, context=caller.context, **options),
    }
    items = (_result_or_error(caller, key, resolution) for key, resolution in resolutions.items())
    return b'{"flags":[' + b",".join(items) + b"]}"


def as_json(body: dict[str, Any]) -> bytes:
    """Returns the body of a response. Raises OfrepError for what JSON cannot hold."""
    try:
        text = json.dumps(body, cls=DjangoJSONEncoder, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise OfrepError(400, "GENERAL", "JSON cannot hold the value") from error
    return text.encode()


def _result_or_error(caller: Caller, key: str, resolution: Resolution[Any]) -> bytes:
    try:
        return _result(caller, key, resolution)
    except OfrepError as error:
        return as_json({"key": key, **error.body})


def _result(caller: Caller, key: str, resolution: Resolution[Any]) -> bytes:
    """Returns a result. Without a value, the SDK returns the default of the code."""
    if resolution.error_code is not None:
        raise no_result(resolution.error_code)
    metadata: dict[str, Any] = {}
    if resolution.reason not in _REASONS:
        metadata["reason"] = resolution.reason
    if resolution.rule is not None and not caller.is_browser:
        metadata["rule"] = resolution.rule
    return as_json(
        {
            "key": key,
            "reason": "UNKNOWN" if "reason" in metadata else resolution.reason,
            # The SDK for Python has no default for it.
            "variant": resolution.variant or "",
            **({} if resolution.value is None else {"value": json_of(key, resolution.value)}),
            **({"metadata": metadata} if metadata else {}),
        }
    )
