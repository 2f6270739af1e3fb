"""The example with Django Debug Toolbar."""

from __future__ import annotations

from tests.system.browser.settings import *  # noqa: F403
from tests.system.browser.settings import INSTALLED_APPS, MIDDLEWARE

DEBUG = True
INTERNAL_IPS = ["127.0.0.1"]
INSTALLED_APPS = [*INSTALLED_APPS, "debug_toolbar"]
MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *MIDDLEWARE]
DEBUG_TOOLBAR_PANELS = [
    "debug_toolbar.panels.history.HistoryPanel",
    "debug_toolbar.panels.sql.SQLPanel",
    "flagstaff.contrib.toolbar.FlagsPanel",
]
ROOT_URLCONF = "tests.system.browser.urls_toolbar"
