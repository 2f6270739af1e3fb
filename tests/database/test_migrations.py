"""The migrations install tables, functions and triggers, and can be reversed."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter
from django.db.utils import ConnectionHandler

import flagstaff
from flagstaff.exceptions import FlagstaffError
from flagstaff.operations import InstallFunctions, InstallTables, InstallTriggers
from tests.conftest import RunIsolated
from tests.support.fake_workers import join
from tests.support.python_processes import ROOT
from tests.support.routers import RefusingRouter
from tests.support.sql import Tokens, rows

__all__ = ["join"]

TABLES = [
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
    "flagstaff_segment",
]
# In a dependency, or as flagstaff.0001_flagstaff.
NAMED = re.compile(r"""\b(flagstaff\w*)(?:", "|\.| )(\d{4}_\w+)""")
OBJECTS = """
    SELECT relname FROM pg_class WHERE relname LIKE 'flagstaff%'
    UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'flagstaff%'
    UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'flagstaff%'
"""


def run(
    state: ProjectState, *operations: Operation, app: str = "common", back: bool = False
) -> ProjectState:
    """Runs a migration with these operations, or reverses it; returns the state after it."""
    body = {"operations": list(operations)}
    migration: migrations.Migration = type("Migration", (migrations.Migration,), body)("0001", app)
    with connection.schema_editor(atomic=True) as editor:
        return (migration.unapply if back else migration.apply)(state, editor)


INTEGER = models.BigAutoField(primary_key=True)


def models_of_a_project(pk: models.Field[Any, Any] = INTEGER) -> list[Operation]:
    """Flags and values of a project: more columns, and any primary key."""
    inherited = [
        ("client_side", models.BooleanField(default=False, db_default=False)),
        ("rules", models.JSONField(default=list, db_default=[])),
        ("bucket_by", models.CharField(max_length=100, db_default="user")),
    ]
    secret = ("secret", models.BooleanField(default=False, db_default=False))
    key = ("key", models.CharField(max_length=255, unique=True, db_column="Name"))
    return [
        migrations.CreateModel("Member", [("id", pk.clone())]),
        migrations.CreateModel(
            "FeatureFlag",
            [
                ("id", pk.clone()),
                key,
                ("enabled", models.BooleanField(default=False, db_default=False)),
                ("rollout_percent", models.IntegerField(default=0)),
                ("allowed_users", models.ManyToManyField("common.Member")),
                ("updated", models.DateTimeField(auto_now=True)),
                *inherited,
            ],
            options={"db_table": "Feature flag's"},
        ),
        migrations.CreateModel(
            "KeyValueStore",
            [("id", pk.clone()), key, ("value", models.JSONField()), secret, *inherited],
        ),
    ]


INSTALL = InstallTriggers("common.FeatureFlag", "common.KeyValueStore")
PKS: dict[str, tuple[models.Field[Any, Any], Any, Any]] = {
    "integer": (INTEGER, 7, 7),
    "uuid": (models.UUIDField(primary_key=True), uuid.UUID(int=7), str(uuid.UUID(int=7))),
    "text": (models.CharField(primary_key=True, max_length=50), "sévén", "sévén"),
}


@pytest.fixture
def migrated(transactional_db: None, sequences: None) -> Iterator[None]:
    """Applies all migrations again after the test. New tables have new sequences."""
    yield
    call_command("migrate", verbosity=0)


def test_models_need_no_new_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("table", TABLES)
def test_watched_table_has_all_triggers(table: str) -> None:
    events = ("delete", "insert", "truncate", "update")
    of_history = [(f"flagstaff_history_{of}_v1", "O") for of in events]
    of_tokens = [(f"flagstaff_token_{of}_v1", "A") for of in events]
    assert (
        rows(
            "SELECT tgname, tgenabled FROM pg_trigger "
            "WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY tgname",
            table,
        )
        == of_history + of_tokens
    )


def test_functions_are_security_definer_with_a_safe_search_path() -> None:
    functions = rows(
        "SELECT proname, prosecdef, 'search_path=pg_catalog, pg_temp' = ANY (proconfig), "
        "has_function_privilege('pg_monitor', oid, 'EXECUTE') "
        "FROM pg_proc WHERE proname LIKE 'flagstaff%%'"
    )
    assert len(functions) == 9
    # A sign-up may have any role, and a notification needs no right.
    assert {function for function in functions if function[1:] != (True, True, False)} == {
        ("flagstaff_groups_v1", True, True, True),
        ("flagstaff_arrived_v1", False, True, False),
    }


def test_plain_insert_needs_only_the_main_columns() -> None:
    rows(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES ('a', true, 5);"
        """INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('a', '"stripe"')"""
    )
    assert rows("SELECT kind, description FROM flagstaff_featureflag") == [("release", "")]
    assert rows("SELECT secret, description FROM flagstaff_keyvaluestore") == [(False, "")]
    rows(INSERT_SEGMENT)
    assert rows("SELECT description, created_at IS NULL FROM flagstaff_segment") == [("", False)]
    with pytest.raises(IntegrityError, match="conditions"):
        rows("INSERT INTO flagstaff_segment (key) VALUES ('without_conditions')")


@pytest.mark.django_db(transaction=True)
def test_migrations_are_reversed_and_can_be_redone(migrated: None) -> None:
    call_command("migrate", "flagstaff", "zero", verbosity=0)
    assert rows(OBJECTS) == []
    call_command("migrate", "flagstaff", verbosity=0)
    rows("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
    assert rows("SELECT key FROM flagstaff_change ORDER BY id") == [("a",)]


TOKEN_TRIGGERS = r"SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'flagstaff\_token\_%\_v1'"
INSERT_SEGMENT = "INSERT INTO flagstaff_segment (key, conditions) VALUES ('enterprise', '[]')"


def test_reversed_install_tables_drops_the_triggers_of_a_project() -> None:
    state = run(ProjectState(), *models_of_a_project(), INSTALL)
    run(state, InstallTables(), app="flagstaff", back=True)
    rows("INSERT INTO common_keyvaluestore (\"Name\", value) VALUES ('a', '1')")
    assert not any(name.endswith("_v1") for [name] in rows(OBJECTS))


def test_second_installation_restores_disabled_triggers() -> None:
    before = rows("SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger ORDER BY oid")
    rows("ALTER TABLE flagstaff_keyvaluestore DISABLE TRIGGER flagstaff_token_update_v1")
    run(
        MigrationLoader(None).project_state(("flagstaff", "0001_flagstaff")),
        InstallTables(),
        InstallFunctions(),
        InstallTriggers("flagstaff.FeatureFlag", "flagstaff.KeyValueStore"),
        app="flagstaff",
    )
    after = rows("SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger ORDER BY oid")
    assert after == before


def test_all_objects_are_in_the_schema_of_the_tables() -> None:
    rows('CREATE SCHEMA "O\'Neill"')
    rows('SET LOCAL search_path = "O\'Neill", public')
    migration = MigrationLoader(None).get_migration("flagstaff", "0001_flagstaff")
    state = run(
        MigrationLoader(None).project_state(("auth", "0001_initial")),
        *migration.operations,
        app="flagstaff",
    )
    rows("SET LOCAL search_path = pg_catalog")
    rows("INSERT INTO \"O'Neill\".flagstaff_featureflag (key) VALUES ('a')")
    assert rows('SELECT relation::text FROM "O\'Neill".flagstaff_token') == [("f",)]
    assert rows('SELECT key FROM "O\'Neill".flagstaff_change') == [("a",)]
    tables = 'SELECT relname FROM pg_class WHERE relnamespace = $$"O\'Neill"$$::regnamespace AND '
    tables += "relname IN ('flagstaff_change', 'flagstaff_usage') ORDER BY relname"
    assert rows(tables) == [("flagstaff_change",), ("flagstaff_usage",)]
    rows('SET LOCAL search_path = "O\'Neill", public')
    run(state, InstallTables(), app="flagstaff", back=True)
    assert rows(tables) == []


@pytest.mark.parametrize(("pk", "value", "recorded"), PKS.values(), ids=PKS)
def test_changes_of_a_projects_models_are_recorded(
    pk: models.Field[Any, Any], value: Any, recorded: Any
) -> None:
    state = run(ProjectState(), *models_of_a_project(pk), INSTALL)
    tokens = Tokens()
    alice = state.apps.get_model("common", "Member").objects.create(pk=value)
    flag = state.apps.get_model("common", "FeatureFlag").objects.create(pk=value, key="a")
    flag.allowed_users.add(alice)
    flag.save()  # changes only the auto_now field
    state.apps.get_model("common", "KeyValueStore").objects.create(pk=value, key="b", value=[1])
    # Other texts stand for any row.
    is_named = str(recorded).isascii()
    row, pair = ([str(recorded)], [[str(recorded)] * 2]) if is_named else (None, None)
    assert tokens.pks() == [("f", row), ("m", pair), ("f", row), ("k", row)]
    [_, allowed, stored] = rows(
        "SELECT relation::text, object_pk, key, old, new FROM flagstaff_change "
        "WHERE transaction_id = pg_current_xact_id()::text::bigint ORDER BY id"
    )
    assert allowed == ("m", str(recorded), "a", "[]", f'["{recorded}"]' if recorded != 7 else "[7]")
    assert stored[:4] == ("k", str(recorded), "b", None)


@pytest.mark.parametrize(
    ("install", "watched"),
    [(INSTALL, 9), (InstallTriggers(value_model="common.KeyValueStore"), 7)],
    ids=["both models", "values alone"],
)
def test_triggers_are_installed_and_dropped_on_the_given_models_only(
    install: InstallTriggers, watched: int
) -> None:
    state = run(ProjectState(), *models_of_a_project())
    run(state.clone(), install)
    assert rows(TOKEN_TRIGGERS) == [(4 * watched,)]
    run(state, install, back=True)
    assert rows(TOKEN_TRIGGERS) == [(4 * 6,)]


def test_install_triggers_without_the_token_table_is_an_error() -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    with pytest.raises(FlagstaffError) as error, transaction.atomic():
        run(ProjectState(), *models_of_a_project(), INSTALL)
    assert str(error.value) == (
        'table "flagstaff_token" is not on the search path of database "default"; add '
        '("flagstaff", "0001_flagstaff") to the dependencies of the migration, and change '
        "allow_migrate in your router to allow flagstaff there"
    )


def test_operations_respect_a_router_that_refuses(settings: Any) -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    state = run(ProjectState(), *models_of_a_project())
    settings.DATABASE_ROUTERS = [RefusingRouter()]
    run(state.clone(), InstallTables(), InstallFunctions(), INSTALL)
    run(state, InstallTables(), InstallFunctions(), INSTALL, back=True)
    assert rows("SELECT to_regclass('flagstaff_token')") == [(None,)]
    assert rows(TOKEN_TRIGGERS) == [(4 * 6,)]


def test_operations_do_nothing_on_sqlite(tmp_path: Path) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    other = ConnectionHandler({"default": sqlite})["default"]
    with other.schema_editor() as editor:
        for operation in (InstallTables(), InstallFunctions(), INSTALL):
            operation.database_forwards("common", editor, ProjectState(), ProjectState())
            operation.database_backwards("common", editor, ProjectState(), ProjectState())
    assert other.introspection.table_names() == []
    other.close()


def test_operation_is_serializable_in_a_migration() -> None:
    text, imports = OperationWriter(INSTALL, indentation=0).serialize()
    assert re.sub(r"\s+", " ", text) == (
        "flagstaff.operations.InstallTriggers( "
        "flag_model='common.FeatureFlag', value_model='common.KeyValueStore', ),"
    )
    assert imports == {"import flagstaff.operations"}


def test_sqlmigrate_works_before_the_tables_exist() -> None:
    printed = io.StringIO()
    rows("CREATE SCHEMA empty; SET LOCAL search_path = empty")
    call_command("sqlmigrate", "flagstaff", "0001", stdout=printed)
    assert 'ON empty."flagstaff_featureflag"' in printed.getvalue()
    assert not re.search(r"\{[a-z_]+\}", printed.getvalue())


def test_every_migration_that_a_text_names_exists() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts += [*(ROOT / "python").rglob("*.py"), *(ROOT / "tests" / "system").rglob("*.py")]
    names = {name for file in texts for name in NAMED.findall(file.read_text())}
    assert ("flagstaff", "0001_flagstaff") in names
    assert names <= set(MigrationLoader(None).disk_migrations or ())


def test_every_ddl_file_is_used() -> None:
    folder = Path(flagstaff.__path__[0])
    used_in = ("operations.py", "operations.py")
    code = "".join((folder / file).read_text() for file in used_in)
    for file in (folder / "sql").glob("*.sql"):
        if "CREATE" in file.read_text() or "DROP" in file.read_text():
            assert f'"{file.stem}"' in code, file.name


MIGRATE = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
"""


@pytest.mark.parametrize("zone", ["America/Lima", "Europe/Berlin"])
def test_tables_are_created_on_sqlite_west_and_east_of_utc(
    zone: str, run_isolated: RunIsolated
) -> None:
    project = "tests.support.settings_sqlite"
    run_isolated(MIGRATE, DJANGO_SETTINGS_MODULE=project, TEST_TIME_ZONE=zone)
