"""A project that uses waffle: with STAND_IN, from flagstaff, whose settings are its only change."""

from __future__ import annotations

import os
from typing import Any

from tools.database_url import parse_database_url

DATABASES = {"default": parse_database_url(os.environ["DATABASE_URL"])}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "waffle",
    "shop",
]
FLAGSTAFF: dict[str, Any] = {}
if "STAND_IN" in os.environ:
    from flagstaff.contrib.waffle import install

    install()
    install()
    INSTALLED_APPS += ["flagstaff", "flagstaff.contrib.waffle"]
    _KEYS = {"switch:search": "search.switch", "sample:search": "search.sample"}
    FLAGSTAFF = {"WAFFLE": {"KEYS": _KEYS}}
MIDDLEWARE = ["waffle.middleware.WaffleMiddleware"]
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "APP_DIRS": True,
        "OPTIONS": {"extensions": ["waffle.jinja.WaffleExtension"]},
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "shop.urls"
SECRET_KEY = "not a secret"
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
USE_TZ = True
