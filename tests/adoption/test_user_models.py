"""The same adoption where users are of a model of the project's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adoption.project import Project
from tests.adoption.steps import adopt_in_use, assert_no_complaint

SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "people"]
AUTH_USER_MODEL = "people.Person"
"""
MODELS = """
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


def some_text():
    return f"Zoë, {uuid.uuid4().hex[:12]}"


class Person(AbstractUser):
    id = models.FIELD
"""
PRIMARY_KEYS = {
    "uuid": "UUIDField(primary_key=True, default=uuid.uuid4)",
    "text": "CharField(primary_key=True, max_length=50, default=some_text)",
}


@pytest.mark.parametrize("on", ["postgres", "sqlite"])
@pytest.mark.parametrize("field", PRIMARY_KEYS.values(), ids=PRIMARY_KEYS)
def test_adoption_changes_no_answer(field: str, on: str, database: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", database if on == "postgres" else None, SETTINGS)
    project.write("people/__init__.py", "")
    project.write("people/models.py", MODELS.replace("FIELD", field))
    project.manage("makemigrations", "people", "--verbosity=0")
    _before, after = adopt_in_use(project, 50)
    assert project.script("change") < 1
    if on == "postgres":
        assert after["mode"] == "live"
        assert_no_complaint(project)
    else:
        assert after["mode"] == "direct"
