"""flagstaff's admin for the models of an adopting project."""

from __future__ import annotations

import pytest

from tests.support.pages import code_of
from tests.system.adoption.project import Project
from tests.system.adoption.steps import assert_no_messages

PAGE = "how-to/existing-models.md"
MORE_FIELDS = """from django.db import models

FeatureFlag.add_to_class("team", models.CharField(max_length=50, default="", blank=True))
FeatureFlag.add_to_class("priority", models.PositiveSmallIntegerField(default=0))
FeatureFlag.add_to_class("reason", models.CharField(max_length=50, default="new"))
"""


def use_flagstaffs_admin(project: Project) -> None:
    """Does what the documentation says."""
    [code] = code_of(PAGE, "python", having="# common/admin.py")
    project.write("common/admin.py", code)


@pytest.mark.timeout(120)
def test_admin_of_adopted_models_with_more_fields_works(article: Project) -> None:
    article.adopt()
    article.append("common/models.py", MORE_FIELDS)
    article.manage("makemigrations", "common", "--verbosity=0")
    article.manage("migrate", "--verbosity=0")
    use_flagstaffs_admin(article)
    assert_no_messages(article)
    seen = article.script("admin_walk")
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
