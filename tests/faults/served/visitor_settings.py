"""Settings of a served project whose flags count visitors."""

from __future__ import annotations

from tests.support.settings import *  # noqa: F403 (usual in settings files)

ROOT_URLCONF = "tests.faults.served.visitor_urls"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "flagstaff.middleware.FlagstaffMiddleware",
]
