"""The test project with the user model UuidMember."""

from tests.support.settings import *  # noqa: F403
from tests.support.settings import DATABASES, INSTALLED_APPS

AUTH_USER_MODEL = "members.UuidMember"
DATABASES = {"default": {**DATABASES["default"], "TEST": {"NAME": "test_users_uuid"}}}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.apps.members"]
