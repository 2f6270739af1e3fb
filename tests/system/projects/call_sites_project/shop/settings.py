"""A project whose call sites import flagstaff.compat.waffle: WITH_WAFFLE, or after it has left."""

from __future__ import annotations

import os
import sys

from tools.database_url import parse_database_url

_WITH_WAFFLE = "WITH_WAFFLE" in os.environ

DATABASES = {"default": parse_database_url(os.environ["DATABASE_URL"])}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "flagstaff",
    "flagstaff.compat",
    "shop",
]
_LIBRARIES = {}
if _WITH_WAFFLE:
    INSTALLED_APPS += ["waffle"]
else:
    # As if it were not installed: its import fails.
    sys.modules["waffle"] = None  # type: ignore[assignment]
    _LIBRARIES = {"waffle_tags": "flagstaff.compat.waffle.templatetags.waffle_tags"}

FLAGSTAFF = {
    "WAFFLE": {"KEYS": {"switch:search": "search.switch", "sample:search": "search.sample"}}
}
MIDDLEWARE = ["flagstaff.compat.waffle.middleware.WaffleMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"libraries": _LIBRARIES},
    },
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "APP_DIRS": True,
        "OPTIONS": {"extensions": ["flagstaff.compat.waffle.jinja.WaffleExtension"]},
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "shop.urls"
SECRET_KEY = "not a secret"
USE_TZ = True
