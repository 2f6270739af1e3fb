"""django-tenants: all tenants share the flags."""

import json
import re
from typing import Any

import psycopg
import pytest

from tests.support.python_processes import run_python

pytestmark = pytest.mark.timeout(180)


class Project:
    """A project whose tenants have these apps, of "auth", "flagstaff" and "notes"."""

    def __init__(self, database: str, shared: str, of_tenants: str, **variables: str) -> None:
        self._database = database
        self._variables = {"SHARED_APPS": shared, "TENANT_APPS": of_tenants} | variables
        self._variables["DJANGO_SETTINGS_MODULE"] = "tests.faults.tenants.settings"

    def manage(self, *arguments: str, fails: bool = False) -> str:
        """Returns the output of a command."""
        return self._run("-m", "django", *arguments, fails=fails)

    def migrate(self) -> str:
        """Creates all tables and two tenants, and returns the output."""
        output = self.manage("migrate_schemas", "--shared", "--run-syncdb", "--verbosity=0")
        self.run("create_tenants")
        return output

    def run(self, name: str) -> Any:
        """Returns the result of a function of `tests.faults.tenants.process`."""
        return json.loads(self._run("-m", "tests.faults.tenants.process", name).splitlines()[-1])

    def _run(self, *arguments: str, fails: bool = False) -> str:
        ran = run_python(self._database, *arguments, status=int(fails), **self._variables)
        return ran.stderr + ran.stdout


def check_ids(output: str) -> list[str]:
    return re.findall(r"flagstaff\.[A-Z]\d+", output)


def schemas_with_flags(database: str) -> list[str]:
    query = "SELECT schemaname FROM pg_tables WHERE tablename = 'flagstaff_featureflag' ORDER BY 1"
    with psycopg.connect(database) as session:
        return [schema for (schema,) in session.execute(query)]


@pytest.mark.smoke
def test_shared_flags_are_the_same_for_all_tenants(empty_database: str) -> None:
    project = Project(empty_database, "auth flagstaff", "notes")
    assert check_ids(project.migrate()) == []
    assert check_ids(project.manage("check", "--database", "default")) == []
    seen = project.run("shared")
    assert (seen["mode"], seen["complete"], seen["reason"]) == ("live", True, "SPLIT")
    assert seen["history"] == ["change", "change", "change", "create"]
    # Users with the same primary key have buckets of their own.
    assert seen["acme"] != seen["globex"]


def test_flags_of_tenants_have_the_same_results_in_tests_as_in_workers(empty_database: str) -> None:
    project = Project(empty_database, "auth flagstaff", "auth flagstaff")
    project.migrate()
    assert project.run("beside") == ["FLAG_NOT_FOUND", "FLAG_NOT_FOUND"]
    output = project.manage("test", "--noinput", "tests.faults.tenants.acceptance")
    assert "RESULT False FLAG_NOT_FOUND" in output


def test_tables_of_tenants_are_removed_by_a_migration(empty_database: str) -> None:
    before = Project(empty_database, "auth flagstaff", "auth flagstaff")
    before.migrate()
    assert schemas_with_flags(empty_database) == ["acme", "globex", "public"]
    before.manage("migrate_schemas", "--tenant", "--skip-checks", "flagstaff", "zero")
    assert schemas_with_flags(empty_database) == ["public"]


def test_shared_schema_may_have_another_name(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as session:
        session.execute("CREATE SCHEMA everyone")
    project = Project(empty_database, "auth flagstaff", "notes", PUBLIC_SCHEMA_NAME="everyone")
    project.migrate()
    assert project.run("shared")["mode"] == "live"
