"""The project with models of its own that override methods of waffle."""

from __future__ import annotations

from shop import settings
from shop.settings import *  # noqa: F403

INSTALLED_APPS = ["own_code" if app == "shop" else app for app in settings.INSTALLED_APPS]
WAFFLE_FLAG_MODEL = "own_code.OrgFlag"
WAFFLE_SWITCH_MODEL = "own_code.LoudSwitch"
WAFFLE_SAMPLE_MODEL = "own_code.LoudSample"
ROOT_URLCONF = "own_code.urls"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    *settings.MIDDLEWARE,
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
    settings.TEMPLATES[1],
]
