"""The test project on SQLite, with a flag model of its own for waffle."""

from __future__ import annotations

from typing import cast

from tests.support.settings_sqlite import *  # noqa: F403
from tests.support.settings_sqlite import FLAGSTAFF, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.apps.teams"]
WAFFLE_FLAG_MODEL = "teams.TeamFlag"
cast("dict[str, object]", FLAGSTAFF)["WAFFLE"] = {"SERVE": True, "FIELDS": {"teams": "team_id"}}
