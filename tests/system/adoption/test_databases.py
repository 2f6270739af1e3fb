"""Flags in another schema, in another database, and with a read-only role.

The "py" blocks of the pages need a project, so they run in one here.
"""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.fixtures import create_database, execute
from tests.support.pages import code_of
from tests.support.projects import Project
from tests.system.adoption.article_project import (
    adopt_with_data,
    article_project,
    assert_no_messages,
    passing_tests,
    run_script,
)
from tools.limits import seconds
from tools.postgres import Postgres

PAGE, RIGHTS = "how-to/databases.md", "how-to/database-rights.md"

OTHER_DATABASE = 'DATABASES["flags"] = {{**DATABASES["default"], "NAME": "{name}"}}\n'
WITH_SETTING = 'FLAGSTAFF = {"DATABASE": "flags"}\n'
WITH_ROUTER = 'DATABASE_ROUTERS = ["routers.FlagsElsewhere"]\n'
[ROUTER] = code_of(PAGE, "python", "class FlagsElsewhere")
READER = """
DATABASES["flags"] = {
    **DATABASES["default"],
    "USER": "flagstaff_reader",
    "TEST": {"MIRROR": "default"},
}
FLAGSTAFF = {**globals().get("FLAGSTAFF", {}), "DATABASE": "flags"}
"""


def test_schema_in_the_search_path_has_all_tables(tmp_path: Path, empty_database: str) -> None:
    execute(empty_database, 'CREATE SCHEMA "our shop"')
    [path] = code_of(PAGE, "py", "search_path")
    settings = path.replace('"-c search_path=shop"', repr('-c search_path="our\\ shop"'))
    assert settings != path
    project = article_project(tmp_path, empty_database, settings)
    _before, after = adopt_with_data(project)
    assert after["mode"] == "live"
    assert run_script(project, "change") < seconds(1)
    assert_no_messages(project)
    with psycopg.connect(empty_database) as session:
        rows = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert rows.fetchall() == []


@pytest.mark.parametrize("chosen_by", [WITH_SETTING, WITH_ROUTER], ids=["setting", "router"])
def test_flags_can_be_in_another_database(
    chosen_by: str, tmp_path: Path, empty_database: str, server: Postgres
) -> None:
    other = str(conninfo_to_dict(create_database(server))["dbname"])
    settings, files = OTHER_DATABASE.format(name=other) + chosen_by, {"routers.py": ROUTER}
    apps = ["flagstaff"]
    project = Project(tmp_path, empty_database, apps=apps, settings=settings, files=files)
    if chosen_by is WITH_ROUTER:
        output = project.manage("check", "--database", "flags")
        assert re.findall(r"flagstaff\.[A-Z]\d+", output) == ["flagstaff.W013"]
        assert 'HINT: run "manage.py migrate --database=flags"' in output
    for alias in ("default", "flags"):
        project.manage("migrate", "--database", alias, "--verbosity=0")
    assert run_script(project, "other_database") == "live"
    output = project.manage("check", "--database", "flags")
    written_to_default = ["flagstaff.W004", "flagstaff.W004"]
    assert re.findall(r"flagstaff\.[A-Z]\d+", output) == (
        written_to_default if chosen_by is WITH_SETTING else []
    )


def test_read_only_role_is_sufficient(tmp_path: Path, empty_database: str) -> None:
    project = article_project(tmp_path, empty_database)
    _before, after = adopt_with_data(project)
    execute(empty_database, "CREATE ROLE flagstaff_reader LOGIN")
    project.append(READER)
    output = project.manage("check", "--database", "flags")
    assert re.findall(r"flagstaff\.[A-Z]\d+", output) == ["flagstaff.W014"] * 5
    for statement in re.findall(r"GRANT SELECT ON .* TO flagstaff_reader;", output):
        execute(empty_database, statement)
    assert_no_messages(project, "flags")
    assert run_script(project, "survey") == after
    assert run_script(project, "change") < seconds(1)
    assert passing_tests(project) == 15


def test_page_of_the_read_only_role_works(tmp_path: Path, empty_database: str) -> None:
    [statements] = code_of(RIGHTS, "sql", "CREATE ROLE flagstaff_reader")
    [for_old_databases] = code_of(RIGHTS, "sql", "REVOKE CREATE")
    [settings] = code_of(RIGHTS, "py", "FLAGSTAFF_PASSWORD")
    project = Project(tmp_path, empty_database, apps=["flagstaff"])
    project.manage("migrate", "--verbosity=0")
    shop = f'DATABASE "{conninfo_to_dict(empty_database)["dbname"]}"'
    statements = statements.replace("DATABASE shop", shop)
    execute(empty_database, statements.replace("flagstaff_reader", "second_reader"))
    execute(empty_database, for_old_databases)
    settings = settings.replace("flagstaff_reader", "second_reader")
    settings = settings.replace('os.environ["FLAGSTAFF_PASSWORD"]', '""')
    project.append(settings)
    assert_no_messages(project, "flags")
    assert run_script(project, "role") == "second_reader"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(make_conninfo(empty_database, user="second_reader"), "TRUNCATE flagstaff_token")
