"""The project of the tests. Only tests that query the database need a server."""

from __future__ import annotations

import os

from tools.database_url import parse_database_url

DATABASES = {"default": parse_database_url(os.environ.get("DATABASE_URL", "postgres:///flagstaff"))}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "flagstaff",
    "flagstaff.rollouts",
    "flagstaff.experiments",
    "flagstaff.contrib.ofrep",
    "flagstaff.contrib.webhooks",
    "flagstaff.contrib.waffle",
    "waffle",
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
            ],
        },
    },
]

# Tests that need the middleware add it.
SILENCED_SYSTEM_CHECKS = ["flagstaff.W007"]

# A busy machine must not fail a test by a late first load.
FLAGSTAFF = {"STARTUP_TIMEOUT": 10}

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Fast, because tests create many users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.support.urls"
SECRET_KEY = "not a secret"
STATIC_URL = "static/"
# That of the terminals of the tests: with Django's default, America/Chicago, "today" differed
# between a test and its command for six hours of each day.
TIME_ZONE = "UTC"
USE_TZ = True
