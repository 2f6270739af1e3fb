"""A project whose admin has the theme of the environment variable THEME."""

from __future__ import annotations

import os

from tests.support.settings import *  # noqa: F403
from tests.support.settings import INSTALLED_APPS, MIDDLEWARE, TEMPLATES

THEME = os.environ["THEME"]
# These apps replace templates of Django's admin, so they come before it.
THEME_APPS = {
    "django": [],
    "unfold": ["unfold"],
    "unfold-without-mixin": ["unfold"],
    "jazzmin": ["jazzmin"],
    "grappelli": ["grappelli"],
    "admin-interface": ["admin_interface", "colorfield"],
}
INSTALLED_APPS = [*THEME_APPS[THEME], *INSTALLED_APPS]
MIDDLEWARE = [*MIDDLEWARE, "tests.themes.server.as_superuser"]
ROOT_URLCONF = "tests.themes.urls"
STATIC_URL = "/static/"
JAZZMIN_UI_TWEAKS = {"theme": "flatly", "dark_mode_theme": "darkly"}

[_engine] = TEMPLATES
_engine["OPTIONS"]["context_processors"].append("django.template.context_processors.i18n")  # type: ignore[index]
