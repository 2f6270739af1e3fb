"""A project with its own columns for flags and values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import code_of
from tests.system.adoption.project import Project
from tests.system.adoption.steps import assert_no_messages

PAGE = "how-to/existing-models.md"
SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff", "switches"]
"""
MODELS_WITH_UUID = """
from uuid import uuid4

from django.db import models

from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore


class Switch(AbstractFeatureFlag):
    id = models.UUIDField(primary_key=True, default=uuid4)


class Setting(AbstractKeyValueStore):
    id = models.UUIDField(primary_key=True, default=uuid4)
"""


@pytest.fixture
def switches(tmp_path: Path, database: str) -> Project:
    """A project that follows the page up to the migration of the triggers."""
    [models, settings] = code_of(PAGE, "py")
    project = Project(tmp_path / "shop", database, SETTINGS + settings)
    project.write("switches/__init__.py", "")
    project.write("switches/models.py", models)
    project.manage("makemigrations", "switches", "--verbosity=0")
    return project


def test_models_with_the_migration_of_the_hint_are_used(switches: Project) -> None:
    switches.manage("migrate", "--verbosity=0")
    write_migration_of_the_hint(switches, "switches", "0002_flagstaff")
    switches.manage("migrate", "--verbosity=0")
    assert_no_messages(switches)
    assert switches.script("own_models") == "live"


def test_rollout_plan_of_an_own_model_measures_and_trips(tmp_path: Path, database: str) -> None:
    flags = {"FLAG_MODEL": "switches.Switch", "VALUE_MODEL": "switches.Setting"}
    installed = SETTINGS.replace('"flagstaff",', '"flagstaff", "flagstaff.rollouts",')
    project = Project(tmp_path / "shop", database, f"{installed}FLAGSTAFF = {flags}\n")
    project.write("switches/__init__.py", "")
    project.write("switches/models.py", MODELS_WITH_UUID)
    project.manage("makemigrations", "switches", "--verbosity=0")
    project.manage("migrate", "--verbosity=0")
    write_migration_of_the_hint(project, "switches", "0002_flagstaff")
    project.manage("migrate", "--verbosity=0")
    assert project.script("plan_of_own_model") == [600, "rolled_back", 0]


def write_migration_of_the_hint(project: Project, app: str, name: str) -> None:
    output = " ".join(project.manage("check", "--database", "default").split())
    pattern = r"flagstaff\.operations\.(InstallTriggers\(.+?\)) and the dependency (\(.+?\))"
    [(operation, dependency)] = re.findall(pattern, output)
    [last] = sorted(Path(project.folder, app, "migrations").glob("0001_*.py"))
    project.write(
        f"{app}/migrations/{name}.py",
        f"""
from django.db import migrations
from flagstaff.operations import InstallTriggers

class Migration(migrations.Migration):
    dependencies = [("{app}", "{last.stem}"), {dependency}]
    operations = [{operation}]
""",
    )
