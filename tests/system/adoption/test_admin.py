"""flagstaff's admin for the models of an adopting project."""

from pathlib import Path

import pytest

from tests.support.pages import code_of
from tests.system.adoption.article_project import (
    adopt,
    article_project,
    assert_no_messages,
    run_script,
)

PAGE = "how-to/existing-models.md"
MORE_FIELDS = """from django.db import models

FeatureFlag.add_to_class("team", models.CharField(max_length=50, default="", blank=True))
FeatureFlag.add_to_class("priority", models.PositiveSmallIntegerField(default=0))
FeatureFlag.add_to_class("reason", models.CharField(max_length=50, default="new"))
"""


@pytest.mark.timeout(120)
def test_admin_of_adopted_models_with_more_fields_works(
    tmp_path: Path, empty_database: str
) -> None:
    project = article_project(tmp_path, empty_database)
    adopt(project)
    project.append(MORE_FIELDS, "common/models.py")
    project.manage("makemigrations", "common", "--verbosity=0")
    project.manage("migrate", "--verbosity=0")
    [code] = code_of(PAGE, "python", having="# common/admin.py")
    project.write("common/admin.py", code)
    assert_no_messages(project)
    seen = run_script(project, "admin_walk")
    expected = {
        # Of the rollout.
        "presets": 5,
        "asked": True,
        "flag": [True, 5],
        "allowed": ["operator", 0],
        "result": ["Off for operator (primary key 1)."],
        "undo links": 4,
        "actors": [True],
        # A column named reason is a field of its own.
        "reasons": ["wider"],
        "own reason": "faster",
        "deleted": True,
        "value": 1,
    }
    assert {name: seen[name] for name in expected} == expected
    assert {"team", "priority", "reason"} < {*seen["fields"]}
