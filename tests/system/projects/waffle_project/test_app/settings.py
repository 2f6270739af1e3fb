"""The project in which waffle's own tests run, with the stand-in in waffle's place."""

from __future__ import annotations

import os

from flagstaff.contrib.waffle import install
from tools.database_url import parse_database_url

install()

_DATABASE = parse_database_url(os.environ["DATABASE_URL"])

# Tests of waffle read from a database that the writes do not reach.
DATABASES = {"default": _DATABASE, "readonly": _DATABASE | {"NAME": "readonly"}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "waffle",
    "test_app",
    "flagstaff",
    "flagstaff.contrib.waffle",
]
# One test has a flag, a switch and a sample of the same name.
_KEYS = {"switch:test": "test.switch", "sample:test": "test.sample"}
FLAGSTAFF = {"WAFFLE": {"KEYS": _KEYS, "COOKIES_UNTIL": "2999-12-31"}}

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "waffle.middleware.WaffleMiddleware",
]
_PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _PROCESSORS},
    },
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "APP_DIRS": True,
        "OPTIONS": {"extensions": ["waffle.jinja.WaffleExtension"]},
    },
]
# A test of waffle reads it.
JINJA_INSTALLED = True

DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "test_app.urls"
SECRET_KEY = "not a secret"
TEST_RUNNER = "test_app.runner.ReportingRunner"
USE_TZ = True
WAFFLE_CACHE_PREFIX = "test:"
