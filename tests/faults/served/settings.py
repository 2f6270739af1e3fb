"""Settings of the served project. Tests change them by environment variables."""

from __future__ import annotations

import json
import os

from tests.support.settings import *  # noqa: F403 (usual in settings files)
from tests.support.settings import FLAGSTAFF

ROOT_URLCONF = "tests.faults.served.urls"
FLAGSTAFF |= json.loads(os.environ.get("FLAGSTAFF", "{}"))
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
