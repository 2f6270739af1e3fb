"""The example under a strict Content-Security-Policy: browsers log what breaks it.

BESIDE installs another package: "debug_toolbar", or "unfold", a theme of the admin.
"""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from shop import settings
from shop.settings import *  # noqa: F403
from tests.support.python_processes import count_patiently

GetResponse = Callable[[HttpRequest], HttpResponse]

_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'"

# Fast, because each test file logs in.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [*settings.INSTALLED_APPS]
MIDDLEWARE = [f"{__name__}.strict_policy", f"{__name__}.patient", *settings.MIDDLEWARE]
ROOT_URLCONF = "tests.system.browser.urls"


def strict_policy(get_response: GetResponse) -> GetResponse:
    """A middleware that allows scripts and styles of the own site only, none of them inline."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = _POLICY
        return response

    return handle


def patient(get_response: GetResponse) -> GetResponse:
    """A middleware that does nothing: here the apps are ready."""
    count_patiently()
    return get_response


def seconds_of(request: HttpRequest) -> int | None:
    """The limit of a client whose header says so."""
    return 60 if "X-Limited" in request.headers else None


FLAGSTAFF = {**settings.FLAGSTAFF, "OFREP_LIMIT": f"{__name__}.seconds_of"}

if os.environ.get("BESIDE") == "debug_toolbar":
    DEBUG = True
    INTERNAL_IPS = ["127.0.0.1"]
    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *MIDDLEWARE]
    DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.history.HistoryPanel",
        "debug_toolbar.panels.sql.SQLPanel",
        "flagstaff.contrib.toolbar.FlagsPanel",
    ]
if os.environ.get("BESIDE") == "unfold":
    # It replaces templates of Django's admin, so it comes before it.
    INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
    # Its scripts need a Content-Security-Policy with "unsafe-eval".
    MIDDLEWARE = MIDDLEWARE[1:]
    from tests.support.pages import code_of

    # The menu of docs/how-to/admin-set-up.md.
    [_menu] = code_of("how-to/admin-set-up.md", "python", having="SIDEBAR")
    exec(_menu)
