"""A project whose flags and values have columns of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adoption.project import Project
from tests.adoption.steps import assert_no_complaint
from tests.pages import code_of

PAGE = "how-to/own-models.md"
SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff", "switches"]
"""


@pytest.fixture
def switches(tmp_path: Path, database: str) -> Project:
    """A project that has done what docs/how-to/own-models.md says, up to the migration."""
    [models], [settings] = code_of(PAGE, "py"), code_of(PAGE, "python", "FLAG_MODEL")
    project = Project(tmp_path / "shop", database, SETTINGS + settings)
    project.write("switches/__init__.py", "")
    project.write("switches/models.py", models)
    project.manage("makemigrations", "switches", "--verbosity=0")
    return project


def test_check_gives_the_migration_and_the_models_are_answered_from(switches: Project) -> None:
    switches.manage("migrate", "--verbosity=0")
    write_the_migration_of_the_hint(switches, "switches", "0002_flagstaff")
    switches.manage("migrate", "--verbosity=0")
    assert_no_complaint(switches)
    assert switches.script("own_models") == "live"


def test_page_has_the_migration_that_is_needed(switches: Project) -> None:
    [migration] = code_of(PAGE, "python", "class Migration")
    switches.write("switches/migrations/0002_flagstaff.py", migration)
    switches.manage("migrate", "--verbosity=0")
    assert_no_complaint(switches)


def test_migration_of_the_hint_can_be_copied(article: Project) -> None:
    article.append("config/here.py", 'INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff"]\n')
    flagstaff = {"FLAG_MODEL": "common.FeatureFlag", "VALUE_MODEL": "common.KeyValueStore"}
    article.append("config/here.py", f"FLAGSTAFF = {flagstaff}\n")
    article.manage("migrate", "--verbosity=0")
    write_the_migration_of_the_hint(article, "common", "0003_flagstaff")
    article.manage("migrate", "--verbosity=0")
    assert_no_complaint(article)


def write_the_migration_of_the_hint(project: Project, app: str, name: str) -> None:
    said = project.manage("check", "--database", "default")
    assert f'HINT: run "manage.py makemigrations --empty {app}", and write into it:' in said
    lines = [line.strip() for line in said.splitlines()]
    [imports] = [line for line in lines if line.startswith("from flagstaff")]
    body = [line for line in lines if line.startswith(("dependencies = ", "operations = "))]
    head = (
        f"from django.db import migrations\n{imports}\n\nclass Migration(migrations.Migration):\n"
    )
    indented = "".join(f"    {line}\n" for line in body)
    project.write(f"{app}/migrations/{name}.py", head + indented)
