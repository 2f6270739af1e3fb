"""A Redis in the memory of the process, for django-cacheops."""

from typing import Any

from django.utils.module_loading import import_string


def client(**options: Any) -> Any:
    """Returns a client of fakeredis, which lacks the command that returns the version."""
    redis = import_string("fakeredis.FakeRedis")(**options)
    redis.info = lambda _section: {"redis_version": "7.0"}
    return redis
