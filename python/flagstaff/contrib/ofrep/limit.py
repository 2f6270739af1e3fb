"""The limit of requests, which a function of the project decides."""

from __future__ import annotations

from math import ceil

from django.http import HttpRequest

from flagstaff._engine.log_once import log_once
from flagstaff._engine.request_functions import RequestFunctionError, result_of
from flagstaff.contrib.ofrep.errors import OfrepError
from flagstaff.contrib.ofrep.settings import OFREP

# Seconds. A function may say that a client must wait for ever.
_MAX_WAIT = 86_400


def check_limit(request: HttpRequest) -> None:
    """Raises OfrepError if LIMIT returns a number of seconds to wait.

    A function that fails limits nothing: front ends would lose all their flags.
    """
    function = OFREP.current().limit
    if function is None:
        return
    try:
        seconds = result_of(function, request, (int, float, type(None)), "a number or None")
    except RequestFunctionError as problem:
        message = f'{function} in OFREP["LIMIT"] {problem}; the request is not limited'
        log_once("ofrep limit", str(problem), message)
        return
    if seconds is not None and seconds > 0:
        # SDKs take 0 as "no time".
        wait = {"Retry-After": str(ceil(min(seconds, _MAX_WAIT)))}
        raise OfrepError(429, "GENERAL", "too many requests", wait)
