"""A project with its own columns for flags and values."""

import re
from pathlib import Path

from tests.support.pages import code_of
from tests.support.projects import Project
from tests.system.adoption.article_project import assert_no_messages, run_script

PAGE = "how-to/existing-models.md"
MODELS_WITH_UUID = """
from uuid import uuid4

from django.db import models

from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore


class Switch(AbstractFeatureFlag):
    id = models.UUIDField(primary_key=True, default=uuid4)


class Setting(AbstractKeyValueStore):
    id = models.UUIDField(primary_key=True, default=uuid4)
"""


def project_with_models(
    folder: Path, database: str, models: str, settings: str, *apps: str
) -> Project:
    """A migrated project with these models in its app "switches", by the page and by the hint."""
    files = {"switches/__init__.py": "", "switches/models.py": models}
    apps = ("flagstaff", *apps, "switches")
    project = Project(folder, database, apps=apps, settings=settings, files=files)
    project.manage("makemigrations", "switches", "--verbosity=0")
    project.manage("migrate", "--verbosity=0")
    output = " ".join(project.manage("check", "--database", "default").split())
    pattern = r"flagstaff\.operations\.(InstallTriggers\(.+?\)) and the dependency (\(.+?\))"
    [(operation, dependency)] = re.findall(pattern, output)
    project.write(
        "switches/migrations/0002_flagstaff.py",
        f"""
from django.db import migrations
from flagstaff.operations import InstallTriggers

class Migration(migrations.Migration):
    dependencies = [("switches", "0001_initial"), {dependency}]
    operations = [{operation}]
""",
    )
    project.manage("migrate", "--verbosity=0")
    return project


def test_models_with_the_migration_of_the_hint_are_used(
    tmp_path: Path, empty_database: str
) -> None:
    project = project_with_models(tmp_path, empty_database, *code_of(PAGE, "py"))
    assert_no_messages(project)
    assert run_script(project, "own_models") == "live"


def test_rollout_plan_of_an_own_model_measures_and_trips(
    tmp_path: Path, empty_database: str
) -> None:
    flags = {"FLAG_MODEL": "switches.Switch", "VALUE_MODEL": "switches.Setting"}
    settings, app = f"FLAGSTAFF = {flags}", "flagstaff.rollouts"
    project = project_with_models(tmp_path, empty_database, MODELS_WITH_UUID, settings, app)
    assert run_script(project, "plan_of_own_model") == [600, "rolled_back", 0]
