"""A project with flagstaff installed and without the settings FLAGSTAFF."""

from __future__ import annotations

import os

from tools.database_url import parse_database_url

_SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "bakery.sqlite3"}

# The server of DATABASE_URL, or SQLite, in memory unless TEST_FILE is set.
DATABASES = {
    "default": parse_database_url(os.environ["DATABASE_URL"])
    if "DATABASE_URL" in os.environ
    else {**_SQLITE, "TEST": {"NAME": os.environ.get("TEST_FILE")}}
}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "flagstaff",
    "bakery",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "bakery.urls"
SECRET_KEY = "not a secret"
STATIC_URL = "static/"
USE_TZ = True
