"""Settings of a served project that reads its users while their database goes away."""

from __future__ import annotations

import os

from tests.faults.served.settings import *  # noqa: F403 (usual in settings files)
from tests.support.settings import DATABASES

DATABASES["default"] |= {
    "CONN_MAX_AGE": {"closed": 0, "kept": None}.get(os.environ["CONNECTIONS"], 0),
}
if os.environ["CONNECTIONS"] == "pooled":
    pool = {"min_size": 1, "max_size": 1, "timeout": 0.2}
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = pool
ROOT_URLCONF = "tests.faults.served.outage_urls"
AUTHENTICATION_BACKENDS = ["tests.faults.served.outage_urls.CountingBackend"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "flagstaff.middleware.FlagstaffMiddleware",
]
