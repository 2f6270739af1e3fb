"""The test project with a database backend that reads its password itself."""

from tests.support.settings import *  # noqa: F403
from tests.support.settings import DATABASES

DATABASES["default"]["ENGINE"] = "tests.support.rotating_backend"
