"""A project as its servers find it; they say in the environment what is to be different."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403 (a settings file of a project is made so)

ROOT_URLCONF = "tests.faults.served.urls"
FLAGSTAFF = json.loads(os.environ.get("FLAGSTAFF", "{}"))
# The development server takes requests before its reloader has looked at the files: it says so.
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
