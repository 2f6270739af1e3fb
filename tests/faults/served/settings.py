"""Settings of the served project. Tests change them by environment variables."""

import json
import os

from tests.support import settings
from tests.support.settings import *  # noqa: F403 (usual in settings files)

ROOT_URLCONF = "tests.faults.served.urls"
FLAGSTAFF = settings.FLAGSTAFF | json.loads(os.environ.get("FLAGSTAFF", "{}"))
# It counts the reads of users, and observes requests.
if "WITH_MIDDLEWARE" in os.environ:
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "flagstaff.middleware.FlagstaffMiddleware",
    ]
    AUTHENTICATION_BACKENDS = ["tests.faults.served.pages_of_users.CountingBackend"]
    SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
# How Django keeps its connections.
DATABASES = settings.DATABASES
match os.environ.get("CONNECTIONS"):
    case "kept":
        DATABASES["default"]["CONN_MAX_AGE"] = None
    case "pooled":
        pool = {"min_size": 1, "max_size": 1, "timeout": 0.2}
        DATABASES["default"].setdefault("OPTIONS", {})["pool"] = pool
# The development server serves requests before its reloader watches the files. Tests wait for its
# log message.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "watched": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: "watched_by_the_reloader" in record.getMessage(),
        }
    },
    "handlers": {"watched": {"class": "logging.StreamHandler", "filters": ["watched"]}},
    "loggers": {"django.utils.autoreload": {"handlers": ["watched"], "level": "DEBUG"}},
}
