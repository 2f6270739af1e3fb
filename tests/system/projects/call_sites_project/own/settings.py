"""The project with a flag model of its own."""

from __future__ import annotations

from shop import settings
from shop.settings import *  # noqa: F403

INSTALLED_APPS = ["own" if app == "shop" else app for app in settings.INSTALLED_APPS]
WAFFLE_FLAG_MODEL = "own.TeamFlag"
