"""The results of a caller, in the form of the protocol."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from flagstaff._core import Resolution, served_kind, served_values
from flagstaff.contrib.ofrep.callers import Caller
from flagstaff.contrib.ofrep.errors import OfrepError

# The reasons that the protocol has. The others are in the metadata.
_REASONS = frozenset({"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED"})
_STATUSES = {
    "FLAG_NOT_FOUND": 404,
    "PARSE_ERROR": 400,
    "PROVIDER_NOT_READY": 503,
    "GENERAL": 503,
}
_DETAILS = {
    "FLAG_NOT_FOUND": "there is no flag, value or experiment with this key",
    "PARSE_ERROR": "the rules cannot be read",
    "PROVIDER_NOT_READY": "flagstaff has loaded nothing yet",
    "GENERAL": "the database failed while the user or an attribute was read",
}


def one_result(caller: Caller, key: str) -> dict[str, Any]:
    """Returns the result of one key, which counts as an evaluation. Raises OfrepError.

    A key that the caller may not read has the error of an unknown one.
    """
    kind = served_kind(caller.snapshot, key, client_side=caller.is_browser)
    if kind is None and caller.is_browser:
        # Not evaluated: a browser could fill the list of unknown keys.
        raise _error("FLAG_NOT_FOUND")
    found = _resolved(caller, key, kind)
    if found.error_code is not None:
        raise _error(found.error_code)
    return _success(caller, key, found)


def all_results(caller: Caller) -> list[dict[str, Any]]:
    """Returns the results of all flags and values that the caller may read.

    Experiments are not among them: which variants are shown is not known, so none is recorded.
    """
    snapshot = caller.snapshot
    found: dict[str, Resolution[Any]] = {
        **snapshot.resolve_all_flags(
            caller.user, client_side=caller.is_browser, context=caller.context
        )
    }
    found |= served_values(
        snapshot, caller.user, client_side=caller.is_browser, context=caller.context
    )
    return [_item(caller, key, one) for key, one in found.items()]


def as_json(body: dict[str, Any]) -> bytes:
    """Returns the body of a response. Raises ValueError or TypeError for what JSON cannot hold."""
    return json.dumps(body, cls=DjangoJSONEncoder, allow_nan=False, separators=(",", ":")).encode()


def all_as_json(items: list[dict[str, Any]]) -> bytes:
    """Returns the body with all results. One that JSON cannot hold becomes an error of its key."""
    return b'{"flags":[' + b",".join(map(_encoded, items)) + b"]}"


def _encoded(item: dict[str, Any]) -> bytes:
    try:
        return as_json(item)
    except (TypeError, ValueError):
        return as_json(_failure(item["key"], "GENERAL", "JSON cannot hold the value"))


def _error(code: str) -> OfrepError:
    return OfrepError(_STATUSES[code], code, _DETAILS[code])


def _resolved(caller: Caller, key: str, kind: str | None) -> Resolution[Any]:
    snapshot = caller.snapshot
    if kind == "value":
        return snapshot.resolve_value(key, user=caller.user, context=caller.context)
    if kind == "variant":
        return snapshot.resolve_variant(key, caller.user, context=caller.context)
    return snapshot.resolve_flag(key, caller.user, context=caller.context)


def _item(caller: Caller, key: str, found: Resolution[Any]) -> dict[str, Any]:
    code = found.error_code
    return _success(caller, key, found) if code is None else _failure(key, code, _DETAILS[code])


def _success(caller: Caller, key: str, found: Resolution[Any]) -> dict[str, Any]:
    """Returns a result. Without a value, the SDK returns the default of the code."""
    metadata: dict[str, Any] = {}
    if found.reason not in _REASONS:
        metadata["reason"] = found.reason
    if found.rule is not None and not caller.is_browser:
        metadata["rule"] = found.rule
    return {
        "key": key,
        "reason": "UNKNOWN" if "reason" in metadata else found.reason,
        # The SDK for Python has no default for it.
        "variant": found.variant or "",
        **({} if found.value is None else {"value": found.value}),
        **({"metadata": metadata} if metadata else {}),
    }


def _failure(key: str, code: str, details: str) -> dict[str, Any]:
    return {"key": key, "errorCode": code, "errorDetails": details}
