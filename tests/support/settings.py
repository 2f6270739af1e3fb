"""The project of the tests. Only tests that query the database need a server."""

import os

from tests.support import base_settings
from tests.support.base_settings import *  # noqa: F403
from tools.database_url import parse_database_url

DATABASES = {"default": parse_database_url(os.environ.get("DATABASE_URL", "postgres:///flagstaff"))}
INSTALLED_APPS = [
    *base_settings.INSTALLED_APPS,
    "django.contrib.staticfiles",
    "flagstaff",
    "flagstaff.rollouts",
    "flagstaff.experiments",
    "flagstaff.contrib.ofrep",
    "flagstaff.contrib.webhooks",
    "flagstaff.contrib.waffle",
    "waffle",
]
# Tests that need the middleware add it.
SILENCED_SYSTEM_CHECKS = ["flagstaff.W007"]
# A busy machine must not fail a test by a late first load.
FLAGSTAFF = {"STARTUP_TIMEOUT": 10}
ROOT_URLCONF = "tests.support.urls"
# In the memory of this process: a log-in writes two rows less, and a page reads one less.
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
TIME_ZONE = os.environ.get("TEST_TIME_ZONE", "UTC")
