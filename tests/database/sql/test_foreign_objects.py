"""A role that may create in the schema cannot have its own tables or functions taken over."""

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.db.migrations.state import ProjectState

from flagstaff.exceptions import FlagstaffError
from flagstaff.operations import InstallFunctions, InstallTables
from tests.support.sql import rows

TABLES = InstallTables()
ALARM = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"
OBJECTS = {
    "token table": ("flagstaff_token", "CREATE TABLE flagstaff_token (id int)"),
    "history": ("flagstaff_change", "CREATE TABLE flagstaff_change (id int)"),
    "usage": ("flagstaff_usage", "CREATE TABLE flagstaff_usage (id int)"),
    "reports": ("flagstaff_report", "CREATE TABLE flagstaff_report (id int)"),
    "workers": ("flagstaff_worker", "CREATE TABLE flagstaff_worker (id int)"),
    "echo": ("flagstaff_echo", "CREATE TABLE flagstaff_echo (id int)"),
    "view": ("flagstaff_token", "CREATE VIEW flagstaff_token AS SELECT 1 AS id"),
    "index": (
        "flagstaff_change_key",
        "CREATE TABLE mine (id int); CREATE INDEX flagstaff_change_key ON mine (id)",
    ),
    "function": (
        "flagstaff_token_v1",
        f"CREATE FUNCTION flagstaff_token_v1() RETURNS trigger {ALARM}",
    ),
    "overload": (
        "flagstaff_write_token_v1",
        f"CREATE FUNCTION flagstaff_write_token_v1(text, text[]) RETURNS bigint {ALARM}",
    ),
}


@pytest.fixture(autouse=True)
def empty_schema(db: None) -> Iterator[None]:
    """A schema of the owner, in which another role may create objects."""
    rows(
        "CREATE ROLE app; CREATE ROLE mallory; CREATE ROLE superuser SUPERUSER; "
        "CREATE SCHEMA open AUTHORIZATION app; "
        "GRANT USAGE, CREATE ON SCHEMA open TO mallory; SET LOCAL search_path = open"
    )
    yield
    rows("RESET ROLE")


def install(operation: InstallTables | InstallFunctions = TABLES) -> None:
    with transaction.atomic(), connection.schema_editor() as editor:
        operation.database_forwards("flagstaff", editor, ProjectState(), ProjectState())


@pytest.mark.parametrize("role", ["app", "superuser"])
@pytest.mark.parametrize(("name", "statement"), OBJECTS.values(), ids=OBJECTS)
def test_object_of_another_role_stops_the_migration(role: str, name: str, statement: str) -> None:
    rows(f"SET LOCAL ROLE mallory; {statement}; SET LOCAL ROLE {role}")
    with pytest.raises(FlagstaffError) as error:
        install()
    assert str(error.value) == (
        f"open.{name} belongs to role mallory, which could change what flagstaff writes and "
        f"runs; drop it, or make role {role} its owner, and run the migration again"
    )


def test_function_of_another_role_stops_the_migration_that_replaces_functions() -> None:
    rows("SET LOCAL ROLE app")
    install()
    name, statement = OBJECTS["overload"]
    rows(f"SET LOCAL ROLE mallory; {statement}; SET LOCAL ROLE app")
    with pytest.raises(FlagstaffError, match=f"open.{name} belongs to role mallory"):
        install(InstallFunctions())


def test_objects_are_installed_again_by_the_same_role_and_a_superuser() -> None:
    rows("SET LOCAL ROLE app")
    install()
    install()
    rows("SET LOCAL ROLE superuser")
    install(InstallFunctions())
