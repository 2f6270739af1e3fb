"""The test project with a router that reads everything from a replica, which lags behind."""

import os

from tests.support.settings import *  # noqa: F403
from tests.support.settings import DATABASES
from tools.database_url import parse_database_url

DATABASES["replica"] = parse_database_url(os.environ["REPLICA_URL"])


class _ReadsFromReplica:
    def db_for_read(self, model: object, **hints: object) -> str:
        return "replica"

    def db_for_write(self, model: object, **hints: object) -> str:
        return "default"


DATABASE_ROUTERS = [_ReadsFromReplica()]
# A session that has just been written is not in the replica yet.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
