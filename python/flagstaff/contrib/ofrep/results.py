"""The results of a caller, in the form of the protocol."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from flagstaff._core import Resolution, served_kind, served_values
from flagstaff.contrib.ofrep.callers import Caller
from flagstaff.contrib.ofrep.errors import OfrepError, no_result

# The reasons that the protocol has. The others are in the metadata.
_REASONS = frozenset({"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED"})


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
            **({} if resolution.value is None else {"value": resolution.value}),
            **({"metadata": metadata} if metadata else {}),
        }
    )
