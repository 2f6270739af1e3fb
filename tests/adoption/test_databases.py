"""Flags in another schema, in another database, and read by a role that may do nothing else.

The blocks of "py" on the pages take a project for given. They are run in one here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.adoption.project import Project
from tests.adoption.steps import adopt_in_use, assert_no_complaint, green_tests
from tests.pages import code_of

PAGE, READER_PAGE = "how-to/databases.md", "how-to/read-only-role.md"

ELSEWHERE = """
DATABASES["flags"] = {{**DATABASES["default"], "NAME": "{name}"}}
INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff"]
"""
BY_SETTING = """
FLAGSTAFF = {"DATABASE": "flags"}
"""
BY_ROUTER = """
DATABASE_ROUTERS = ["config.routers.FlagsElsewhere"]
"""
[ROUTER] = code_of(PAGE, "python", "class FlagsElsewhere")
READER = """
DATABASES["flags"] = {
    **DATABASES["default"],
    "USER": "flagstaff_reader",
    "TEST": {"MIRROR": "default"},
}
FLAGSTAFF = {**globals().get("FLAGSTAFF", {}), "DATABASE": "flags"}
"""


def execute(database: str, statements: str) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(statements.encode())


def complaints(said: str) -> list[str]:
    return re.findall(r"flagstaff\.[A-Z]\d+", said)


@pytest.mark.parametrize("schema", ["shop", "our shop"])
def test_schema_of_the_search_path_has_everything(
    schema: str, tmp_path: Path, database: str
) -> None:
    execute(database, f'CREATE SCHEMA "{schema}"')
    [path] = code_of(PAGE, "py", "search_path")
    quoted = '"{}"'.format(schema.replace(" ", "\\ "))
    settings = path.replace('"-c search_path=shop"', repr(f"-c search_path={quoted}"))
    project = Project(tmp_path / "shop", database, settings)
    _before, after = adopt_in_use(project)
    assert after["mode"] == "live"
    assert project.script("change") < 1
    assert_no_complaint(project)
    with psycopg.connect(database) as session:
        rows = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert rows.fetchall() == []


def test_replica_is_no_other_database(tmp_path: Path, database: str) -> None:
    [replica] = code_of(PAGE, "py", "replica")
    installed = 'INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff"]\n'
    project = Project(tmp_path / "shop", database, installed + replica)
    project.manage("migrate", "--verbosity=0")
    assert_no_complaint(project)


@pytest.mark.parametrize("chosen", [BY_SETTING, BY_ROUTER], ids=["setting", "router"])
def test_other_database_has_the_flags(
    chosen: str, tmp_path: Path, database: str, new_database: Callable[[], str]
) -> None:
    other = str(conninfo_to_dict(new_database())["dbname"])
    project = Project(tmp_path / "shop", database, ELSEWHERE.format(name=other) + chosen)
    project.write("config/routers.py", ROUTER)
    for alias in ("default", "flags"):
        project.manage("migrate", "--database", alias, "--verbosity=0")
    assert project.script("elsewhere") == "live"
    said = project.manage("check", "--database", "flags")
    written_elsewhere = ["flagstaff.W004", "flagstaff.W004"]
    assert complaints(said) == (written_elsewhere if chosen is BY_SETTING else [])


def test_database_that_is_not_migrated_is_named_with_the_command(
    tmp_path: Path, database: str, new_database: Callable[[], str]
) -> None:
    other = str(conninfo_to_dict(new_database())["dbname"])
    project = Project(tmp_path / "shop", database, ELSEWHERE.format(name=other) + BY_ROUTER)
    project.write("config/routers.py", ROUTER)
    said = project.manage("check", "--database", "flags")
    assert complaints(said) == ["flagstaff.W013"]
    assert 'HINT: run "manage.py migrate --database=flags"' in said


def test_role_that_may_only_read_is_enough(tmp_path: Path, database: str) -> None:
    project = Project(tmp_path / "shop", database)
    _before, after = adopt_in_use(project)
    execute(database, "CREATE ROLE flagstaff_reader LOGIN")
    project.append("config/here.py", READER)
    said = project.manage("check", "--database", "flags")
    assert complaints(said) == ["flagstaff.W014"] * 4
    for statement in re.findall(r"GRANT SELECT ON .* TO flagstaff_reader;", said):
        execute(database, statement)
    assert_no_complaint(project, "flags")
    assert project.script("survey") == after
    assert project.script("change") < 1
    assert green_tests(project) == 15


def test_engine_connects_with_the_role_that_may_only_read(tmp_path: Path, database: str) -> None:
    project = as_the_page_says(tmp_path, database, reader="first_reader")
    assert project.script("role") == "first_reader"


def test_page_of_the_reader_is_right(tmp_path: Path, database: str) -> None:
    project = as_the_page_says(tmp_path, database, reader="second_reader")
    assert_no_complaint(project, "flags")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(make_conninfo(database, user="second_reader"), "TRUNCATE flagstaff_token")


def as_the_page_says(tmp_path: Path, database: str, reader: str) -> Project:
    """A project that has done what docs/how-to/read-only-role.md says."""
    statements, of_old_databases = code_of(READER_PAGE, "sql")
    [settings] = code_of(READER_PAGE, "py")
    password = 'os.environ["FLAGSTAFF_PASSWORD"]'
    installed = 'INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff"]\n'
    project = Project(tmp_path / "shop", database, installed)
    project.manage("migrate", "--verbosity=0")
    execute(database, statements.replace("flagstaff_reader", reader))
    execute(database, of_old_databases)
    settings = settings.replace("flagstaff_reader", reader).replace(password, '""')
    project.append("config/here.py", settings)
    return project
