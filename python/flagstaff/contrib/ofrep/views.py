"""The two views of the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from math import ceil

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import parse_etags
from django.views.decorators.csrf import csrf_exempt

from flagstaff._connection import outside_transactions
from flagstaff._log import log_once
from flagstaff._request.functions import RequestFunctionError, result_of
from flagstaff.contrib.ofrep.protocol import (
    Caller,
    OfrepError,
    all_results,
    as_json,
    caller_of,
    one_result,
)
from flagstaff.contrib.ofrep.settings import LIMIT

_View = Callable[..., HttpResponse]

_JSON = "application/json"
_NOT_MODIFIED = 304
# A function may say that a client must wait for ever.
_MAX_SECONDS = 86_400


def _public(view: _View) -> _View:
    """Needs no login, no transaction, and no token of Django, which no SDK sends.

    Without the token, only the content type keeps other sites from sending requests.
    """

    @wraps(view)
    def respond(request: HttpRequest, **route: str) -> HttpResponse:
        try:
            _check(request)
            caller = caller_of(request)
            with caller.observed(request):
                response = view(request, caller, **route)
        except OfrepError as error:
            # SDKs expect the key in the error of one key.
            content = as_json({**route, **error.body})
            response = HttpResponse(content, _JSON, error.status, headers=error.headers)
        patch_cache_control(response, private=True)
        patch_vary_headers(response, ["Cookie", "Authorization", "X-API-Key"])
        return response

    return csrf_exempt(login_not_required(outside_transactions(respond)))


def _check(request: HttpRequest) -> None:
    """Raises OfrepError for another method, or if OFREP_LIMIT returns a number of seconds to wait.

    A function that fails limits nothing: front ends would lose all their flags.
    """
    if request.method != "POST":
        raise OfrepError(405, "GENERAL", "only POST is allowed", {"Allow": "POST"})
    path = LIMIT.current()
    if path is None:
        return
    try:
        seconds = result_of(path, request, (int, float, type(None)), "a number or None")
    except RequestFunctionError as problem:
        message = f"{path} in OFREP_LIMIT {problem}; the request is not limited"
        log_once("ofrep limit", str(problem), message)
        return
    if seconds is not None and seconds > 0:
        # SDKs take 0 as "no time".
        wait = {"Retry-After": str(ceil(min(seconds, _MAX_SECONDS)))}
        raise OfrepError(429, "GENERAL", "too many requests", wait)


@_public
def evaluate_one(request: HttpRequest, caller: Caller, key: str) -> HttpResponse:
    """Returns the result of one key."""
    return HttpResponse(one_result(caller, key), _JSON)


@_public
def evaluate_all(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Returns the results of all flags and values that the caller may read.

    The ETag is that of the body. The version of the configuration would not do: SDKs keep the ETag
    when the user logs in, and then need other results.
    """
    content = all_results(caller)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag}
    if _has(request, etag):
        return HttpResponse(status=_NOT_MODIFIED, headers=headers)
    return HttpResponse(content, _JSON, headers=headers)


def _has(request: HttpRequest, etag: str) -> bool:
    """Whether the client has the body. A server that compresses makes the ETag a weak one."""
    sent_etags = parse_etags(request.headers.get("If-None-Match", ""))
    return any(sent_etag.removeprefix("W/") == etag for sent_etag in sent_etags)
