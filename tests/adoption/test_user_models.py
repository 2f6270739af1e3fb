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


EMPTY = "flagstaff: 1\nflags: {}\nvalues: {}\n"


@pytest.mark.parametrize("on", ["postgres", "sqlite"])
@pytest.mark.parametrize("field", PRIMARY_KEYS.values(), ids=PRIMARY_KEYS)
def test_adoption_changes_no_answer(field: str, on: str, database: str, tmp_path: Path) -> None:
    project = project_with_people(field, database if on == "postgres" else None, tmp_path)
    _before, after = adopt_in_use(project, 50)
    assert project.script("change") < 1
    if on == "postgres":
        assert after["mode"] == "live"
        assert_no_complaint(project)
    else:
        assert after["mode"] == "direct"


@pytest.mark.parametrize("field", PRIMARY_KEYS.values(), ids=PRIMARY_KEYS)
def test_import_of_an_export_brings_back_every_answer(
    field: str, database: str, tmp_path: Path
) -> None:
    project = project_with_people(field, database, tmp_path)
    _before, after = adopt_in_use(project, 50)
    nameless = project.script("nameless")
    project.write("empty.yaml", EMPTY)
    project.manage("flags", "export", "--file", "all.yaml")
    # Who has no name is in it by the primary key, and the others by their names.
    exported = (project.folder / "all.yaml").read_text(encoding="utf-8")
    assert exported.count("pk:") == exported.count(nameless) > 0
    project.manage("flags", "import", "empty.yaml", "--delete-missing", "--yes")
    assert project.script("survey")["found"]["values"] == {}
    project.manage("flags", "import", "all.yaml")
    assert project.script("survey")["found"] == after["found"]
    assert "nothing to do" in project.manage("flags", "import", "all.yaml", "--dry-run")


def project_with_people(field: str, database: str | None, folder: Path) -> Project:
    project = Project(folder / "shop", database, SETTINGS)
    project.write("people/__init__.py", "")
    project.write("people/models.py", MODELS.replace("FIELD", field))
    project.manage("makemigrations", "people", "--verbosity=0")
    return project
