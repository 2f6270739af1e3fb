"""Settings of a demo on one machine.

The package needs only `"flagstaff"` in INSTALLED_APPS, and its middleware for flags of visitors.
Rollout plans need the app `"flagstaff.rollouts"` and the middleware, and experiments need the app
`"flagstaff.experiments"` and METRICS.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent

# A fixed key is acceptable only for a demo on loopback.
SECRET_KEY = os.environ.get("SECRET_KEY", "a-public-demo-key")
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "flagstaff",
    "flagstaff.rollouts",
    "flagstaff.experiments",
    "flagstaff.contrib.ofrep",
    "store",
    "crowd",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    # Shows the admin in the language of the browser: English or German.
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "flagstaff.middleware.FlagstaffMiddleware",
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
                "store.context.storefront",
            ],
        },
    },
]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"

FLAGSTAFF = {
    # With "production": True, changes of most users need the key of the flag to be typed.
    "ENVIRONMENT": {"name": "Demo", "color": "green", "production": False},
    # Seconds between two reports of a worker to plans and experiments. A demo cannot wait for long.
    "MEASURE_INTERVAL": float(os.environ.get("MEASURE_INTERVAL", "1")),
    "METRICS": {
        "orders": "store.metrics.orders",
        "revenue": "store.metrics.revenue",
        "double_orders": "store.metrics.double_orders",
    },
}

if not os.environ.get("DATABASE_URL"):
    raise ImproperlyConfigured(
        "DATABASE_URL is not set: `make demo` sets it and starts a PostgreSQL server. "
        "For your own server: DATABASE_URL=postgresql://user:password@127.0.0.1:5432/shop"
    )
# libpq parses the URL, so all forms that psql accepts work here too.
_address = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _address.pop("dbname", ""),
        "USER": _address.pop("user", ""),
        "PASSWORD": _address.pop("password", ""),
        "HOST": _address.pop("host", ""),
        "PORT": _address.pop("port", ""),
        "OPTIONS": _address,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
# The shop itself is in English only.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# Serves the files from the apps, so collectstatic is not needed.
WHITENOISE_USE_FINDERS = True

SESSION_COOKIE_NAME = "shop_session"
LOGIN_REDIRECT_URL = "/"
