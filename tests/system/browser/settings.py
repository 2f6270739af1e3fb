"""The example under a strict Content-Security-Policy: browsers log what breaks it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from shop.settings import *  # noqa: F403
from shop.settings import FLAGSTAFF, MIDDLEWARE
from tests.support.python_processes import count_patiently

GetResponse = Callable[[HttpRequest], HttpResponse]

# Fast, because each test file logs in.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIDDLEWARE = [
    "tests.system.browser.content_security_policy.strict_policy",
    f"{__name__}.patient",
    *MIDDLEWARE,
]


def patient(get_response: GetResponse) -> GetResponse:
    """A middleware that does nothing: here the apps are ready."""
    count_patiently()
    return get_response


def seconds_of(request: HttpRequest) -> int | None:
    """The limit of a client whose header says so."""
    return 60 if "X-Limited" in request.headers else None


FLAGSTAFF = {**FLAGSTAFF, "OFREP_LIMIT": f"{__name__}.seconds_of"}
