"""A username means the same person in every command, whichever database a router reads from."""

from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.support.fixtures import create_database
from tests.support.projects import Project
from tests.system.adoption.article_project import run_script
from tools.postgres import Postgres

SETTINGS = """
DATABASES["replica"] = {{**DATABASES["default"], "NAME": "{name}"}}
DATABASE_ROUTERS = ["routers.ReadsFromReplica"]
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


def test_username_is_looked_up_in_the_same_database_everywhere(
    tmp_path: Path, empty_database: str, server: Postgres
) -> None:
    replica = str(conninfo_to_dict(create_database(server))["dbname"])
    project = Project(
        tmp_path,
        empty_database,
        apps=["flagstaff"],
        settings=SETTINGS.format(name=replica),
        files={"routers.py": ROUTER},
    )
    for alias in ("default", "replica"):
        project.manage("migrate", "--database", alias, "--verbosity=0")
    answers = run_script(project, "user_database")
    assert (answers["explain"], answers["allow"], answers["as"]) == (1, [1], "1")
    assert (answers["actor"], answers["user"], answers["bob"]) == ("alice", "alice", "bob")
    assert answers["export"] == ["alice"]
