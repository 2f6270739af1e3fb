"""The test project in a region: the database of the workers is a copy of that at PRIMARY_URL."""

import os

from tests.support.settings import *  # noqa: F403
from tests.support.settings import DATABASES
from tools.database_url import parse_database_url

DATABASES["copy"] = {**DATABASES["default"], "TEST": {"MIRROR": "default"}}
DATABASES["default"] = parse_database_url(os.environ["PRIMARY_URL"])
