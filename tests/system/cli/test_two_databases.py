"""A project with two databases, as of production and of staging."""

from pathlib import Path

from tests.support.projects import Project

_STAGING = 'DATABASES["staging"] = {**DATABASES["default"], "NAME": "staging.sqlite3"}'
_ROWS = """
from django.contrib.auth.models import User
from flagstaff.models import FeatureFlag, KeyValueStore
for alias, percent, secret in (("default", 5, "hunter2"), ("staging", 25, "hunter3")):
    User.objects.using(alias).create(username=alias)
    flag = FeatureFlag.objects.using(alias).create(key="new_checkout", rollout_percent=percent)
    flag.allowed_users.add(User.objects.using(alias).get())
    KeyValueStore.objects.using(alias).create(key="mail_password", value=secret, secret=True)
"""


def test_diff_with_another_database_shows_no_secret(tmp_path: Path) -> None:
    project = Project(tmp_path, None, apps=["flagstaff"], settings=_STAGING)
    for alias in ("default", "staging"):
        project.manage("migrate", "--verbosity=0", "--database", alias)
    project.run(_ROWS)
    printed = project.manage("flags", "diff", "--database", "staging", status=6)
    assert printed.splitlines() == [
        "kind\tkey\tfield\tdifference",
        "flag\tnew_checkout\trollout_percent\t25 % there, 5 % here",
        "flag\tnew_checkout\tallowed_users\tonly here: default",
        "value\tmail_password\tvalue\tdiffers",
        "new_checkout: allowed users only there, no user here: 'staging'",
        "CommandError: 3 differences",
    ]
    line = ["diff", "--database", "staging", "new_checkout", "--only", "targeting"]
    assert project.manage("flags", *line) == "no differences\n"
