"""The evaluation context in the body of a request."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.http import HttpRequest

from flagstaff._words.json_text import object_of_pairs, why_undecodable
from flagstaff.contrib.ofrep.errors import OfrepError

_MAX_BYTES = 65_536


def context_of(request: HttpRequest) -> dict[str, Any]:
    """Returns the context of a request. Raises OfrepError if there is none."""
    # A form or a text of another site needs no preflight, and browsers send cookies with it.
    charset = request.content_params.get("charset", "utf-8") if request.content_params else "utf-8"
    if request.content_type != "application/json" or charset.lower() != "utf-8":
        raise OfrepError(415, "GENERAL", "the content type must be application/json, in UTF-8")
    try:
        body = json.loads(
            _text_of(request), object_pairs_hook=object_of_pairs, parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise OfrepError(400, "PARSE_ERROR", "the body is not valid JSON") from error
    context = body.get("context") if isinstance(body, dict) else None
    if not isinstance(context, dict):
        raise OfrepError(400, "INVALID_CONTEXT", 'the body must have an object "context"')
    return context


def _text_of(request: HttpRequest) -> str:
    """Returns the body. Raises ValueError for one that is no text, or that Python cannot decode.

    Reads one byte too many at most, whatever length the client claims.
    """
    try:
        body = b"" if _claims_too_much(request) else request.read(_MAX_BYTES + 1)
    except OSError as error:
        raise OfrepError(400, "PARSE_ERROR", "the body cannot be read") from error
    if len(body) > _MAX_BYTES or _claims_too_much(request):
        raise OfrepError(413, "GENERAL", f"the body has more than {_MAX_BYTES} bytes")
    text = body.decode()
    if problem := why_undecodable(text):
        raise ValueError(f"it {problem}")
    return text


def _claims_too_much(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH") or ""
    return length.isdecimal() and int(length[:20]) > _MAX_BYTES


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
