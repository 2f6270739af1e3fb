"""A project as its servers find it; they say in the environment what is to be different."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403 (a settings file of a project is made so)

ROOT_URLCONF = "tests.faults.served.urls"
FLAGSTAFF = json.loads(os.environ.get("FLAGSTAFF", "{}"))
