"""The test project on SQLite, where every evaluation is a query."""

from tests.support.settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
