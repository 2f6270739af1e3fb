"""Adoption by a project with its own user model."""

from pathlib import Path

import psycopg
import pytest

from tests.system.adoption.article_project import (
    adopt_with_data,
    article_project,
    assert_no_messages,
    run_script,
)
from tools.limits import seconds

# Export, import and result have to keep a primary key with an umlaut, a comma and a space.
MODELS = """
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


def random_text():
    return f"Zoë, {uuid.uuid4().hex[:12]}"


class Person(AbstractUser):
    id = models.CharField(primary_key=True, max_length=50, default=random_text)
"""
EMPTY = '{"flagstaff": 1, "flags": {}, "values": {}}'
REMOVE_A_NAME = """
    UPDATE people_person SET username = ''
    WHERE id = (SELECT person_id FROM common_featureflag_allowed_users ORDER BY id LIMIT 1)
    RETURNING id
"""


@pytest.mark.timeout(180)
def test_adoption_and_the_import_of_an_export_change_no_result(
    empty_database: str, tmp_path: Path
) -> None:
    settings = 'AUTH_USER_MODEL = "people.Person"'
    project = article_project(tmp_path, empty_database, settings, apps=("people",))
    project.write("people/__init__.py", "")
    project.write("people/models.py", MODELS)
    project.manage("makemigrations", "people", "--verbosity=0")
    _before, after = adopt_with_data(project, 50)
    assert after["mode"] == "live"
    assert_no_messages(project)
    with psycopg.connect(empty_database) as session:
        [nameless] = session.execute(REMOVE_A_NAME).fetchone() or [None]
    project.write("empty.json", EMPTY)
    project.manage("flags", "export", "--file", "all.json")
    # A user without a name is exported by primary key, the others by name.
    exported = project.read("all.json")
    assert exported.count('"pk":') == exported.count(str(nameless)) > 0
    project.manage("flags", "import", "empty.json", "--delete-missing", "--yes")
    assert run_script(project, "survey")["found"]["values"] == {}
    project.manage("flags", "import", "all.json")
    assert run_script(project, "survey")["found"] == after["found"]
    assert "already up to date" in project.manage("flags", "import", "all.json", "--dry-run")
    assert run_script(project, "change") < seconds(1)
