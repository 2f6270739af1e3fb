"""The test project with the user model BigintMember."""

from tests.support.settings import *  # noqa: F403
from tests.support.settings import DATABASES, INSTALLED_APPS

AUTH_USER_MODEL = "members.BigintMember"
DATABASES = {"default": {**DATABASES["default"], "TEST": {"NAME": "test_users_bigint"}}}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.apps.members"]
