"""The test project with a database backend that reads its password itself."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["ENGINE"] = "tests.rotating_backend"
