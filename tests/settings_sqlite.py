"""The same project on SQLite, where every question goes to the database."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
