"""The project of the tests, with a database whose password is found by its backend."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["ENGINE"] = "tests.rotating_backend"
