"""A username means the same person in every command, whichever database a router reads from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.system.adoption.project import Project

SETTINGS = """
DATABASES["replica"] = {{**DATABASES["default"], "NAME": "{name}"}}
DATABASE_ROUTERS = ["config.routers.ReadsFromReplica"]
INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff"]
SILENCED_SYSTEM_CHECKS = ["flagstaff.W004"]
"""
ROUTER = """
class ReadsFromReplica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True
"""


@pytest.fixture
def project(tmp_path: Path, database: str, new_database: Callable[[], str]) -> Project:
    replica = str(conninfo_to_dict(new_database())["dbname"])
    project = Project(tmp_path / "shop", database, SETTINGS.format(name=replica))
    project.write("config/routers.py", ROUTER)
    for alias in ("default", "replica"):
        project.manage("migrate", "--database", alias, "--verbosity=0")
    return project


def test_username_is_looked_up_in_the_same_database_everywhere(project: Project) -> None:
    found = project.script("user_database")
    assert (found["explain"], found["allow"], found["as"]) == (1, [1], "1")
    assert (found["actor"], found["user"], found["bob"]) == ("alice", "alice", "bob")
    assert found["export"] == ["alice"]
