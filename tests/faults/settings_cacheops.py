"""The test project with django-cacheops for every query of every model."""

from tests.support.settings import *  # noqa: F403
from tests.support.settings import INSTALLED_APPS

INSTALLED_APPS = ["cacheops", *INSTALLED_APPS]
CACHEOPS = {"*.*": {"ops": "all", "timeout": 3600}}
CACHEOPS_CLIENT_CLASS = "tests.faults.fake_redis.client"
