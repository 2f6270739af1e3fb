"""What all projects of the tests have. Each one adds what is special about it."""

import os
from typing import Any

from tools.database_url import parse_database_url

_SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}

# The server of DATABASE_URL, or SQLite, whose tests are in memory unless TEST_FILE is set.
DATABASES: dict[str, dict[str, Any]] = {
    "default": parse_database_url(os.environ["DATABASE_URL"])
    if "DATABASE_URL" in os.environ
    else {**_SQLITE, "TEST": {"NAME": os.environ.get("TEST_FILE")}}
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Fast, because tests create many users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "urls"
SECRET_KEY = "not a secret"
STATIC_URL = "static/"
# That of the terminals of the tests: with Django's default, America/Chicago, "today" differed
# between a test and its command for six hours of each day.
TIME_ZONE = "UTC"
USE_TZ = True
