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
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter
from django.db.utils import ConnectionHandler

import flagstaff
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import Segment
from flagstaff.operations import (
    FillObjectTables,
    InstallFunctions,
    InstallTables,
    InstallTriggers,
)
from tests.support.fake_workers import Join, join

__all__ = ["join"]

pytestmark = pytest.mark.django_db

TABLES_OF_0001 = [
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
]
TABLES = [*TABLES_OF_0001, "flagstaff_segment"]
# The migration before rules and segments.
BEFORE_RULES = "0004_separate_tables"
NEWEST = ("flagstaff", "0014_pages")
OBJECTS = """
    SELECT relname FROM pg_class WHERE relname LIKE 'flagstaff%'
    UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'flagstaff%'
    UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'flagstaff%'
"""


def rows(query: str, *parameters: str | int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def migration_of(app: str, operations: tuple[Operation, ...]) -> migrations.Migration:
    body = {"operations": list(operations)}
    migration: migrations.Migration = type("Migration", (migrations.Migration,), body)("0001", app)
    return migration


def run(state: ProjectState, *operations: Operation, app: str = "common") -> ProjectState:
    """Runs a migration with these operations, and returns the state after it."""
    migration = migration_of(app, operations)
    with connection.schema_editor(atomic=True) as editor:
        return migration.apply(state, editor)


def reverse(state: ProjectState, *operations: Operation, app: str = "common") -> ProjectState:
    migration = migration_of(app, operations)
    with connection.schema_editor(atomic=True) as editor:
        return migration.unapply(state, editor)


def migrated_to(app: str, name: str) -> ProjectState:
    state = MigrationExecutor(connection).loader.project_state((app, name))
    assert isinstance(state, ProjectState)
    return state


def operations_of(name: str) -> list[Operation]:
    loader = MigrationExecutor(connection).loader
    return list(loader.get_migration("flagstaff", name).operations)


def models_of_a_project(pk: models.Field[Any, Any]) -> list[Operation]:
    """Flags and values of a project: other columns, no `secret`, any primary key."""
    key = ("key", models.CharField(max_length=255, unique=True, db_column="Name"))
    return [
        migrations.CreateModel("Member", [("id", pk.clone())]),
        migrations.CreateModel(
            "FeatureFlag",
            [
                ("id", pk.clone()),
                key,
                ("enabled", models.BooleanField(default=False)),
                ("rollout_percent", models.IntegerField(default=0)),
                ("allowed_users", models.ManyToManyField("common.Member")),
                ("updated", models.DateTimeField(auto_now=True)),
            ],
            options={"db_table": "Feature flag's"},
        ),
        migrations.CreateModel(
            "KeyValueStore", [("id", pk.clone()), key, ("value", models.JSONField())]
        ),
    ]


INSTALL = InstallTriggers("common.FeatureFlag", "common.KeyValueStore")
PKS: dict[str, tuple[models.Field[Any, Any], Any, Any]] = {
    "integer": (models.BigAutoField(primary_key=True), 7, 7),
    "uuid": (models.UUIDField(primary_key=True), uuid.UUID(int=7), str(uuid.UUID(int=7))),
    "text": (models.CharField(primary_key=True, max_length=50), "sévén", "sévén"),
}


def tokens_since(newest: int) -> str:
    [[relations]] = rows(
        "SELECT string_agg(relation::text, '' ORDER BY id) FROM flagstaff_token WHERE id > %s",
        newest,
    )
    return str(relations)


def newest_token() -> int:
    [[newest]] = rows("SELECT coalesce(max(id), 0) FROM flagstaff_token")
    return int(newest)


def entries() -> list[tuple[str, str, str, Any, Any]]:
    return rows(
        "SELECT relation::text, object_pk, key, old, new FROM flagstaff_change "
        "WHERE transaction_id = pg_current_xact_id()::text::bigint ORDER BY id"
    )


@pytest.fixture
def migrated(transactional_db: None) -> Iterator[None]:
    """Applies all migrations again after the test."""
    yield
    call_command("migrate", verbosity=0)


def test_models_need_no_new_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("table", TABLES)
def test_watched_table_has_all_triggers(table: str) -> None:
    triggers = rows(
        "SELECT tgname, tgenabled FROM pg_trigger "
        "WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY tgname",
        table,
    )
    assert triggers == [
        ("flagstaff_history_delete_v1", "O"),
        ("flagstaff_history_insert_v1", "O"),
        ("flagstaff_history_truncate_v1", "O"),
        ("flagstaff_history_update_v1", "O"),
        ("flagstaff_token_v1", "A"),
    ]


def test_functions_are_security_definer_with_a_safe_search_path() -> None:
    functions = rows(
        "SELECT proname, prosecdef, 'search_path=pg_catalog, pg_temp' = ANY (proconfig), "
        "has_function_privilege('pg_monitor', oid, 'EXECUTE') "
        "FROM pg_proc WHERE proname LIKE 'flagstaff%%'"
    )
    assert len(functions) == 6
    assert {tuple(function[1:]) for function in functions} == {(True, True, False)}


def test_plain_insert_needs_only_the_main_columns() -> None:
    rows(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES ('a', true, 5);"
        """INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('a', '"stripe"')"""
    )
    assert rows("SELECT kind, description FROM flagstaff_featureflag") == [("release", "")]
    assert rows("SELECT secret, description FROM flagstaff_keyvaluestore") == [(False, "")]


def test_plain_insert_of_a_segment_needs_only_key_and_conditions() -> None:
    rows(INSERT_SEGMENT)
    assert rows("SELECT description, created_at IS NULL FROM flagstaff_segment") == [("", False)]


def test_segment_without_conditions_is_rejected_by_the_database() -> None:
    with pytest.raises(IntegrityError, match="conditions"):
        rows("INSERT INTO flagstaff_segment (key) VALUES ('enterprise')")


@pytest.mark.parametrize("change", ["insert", "update", "delete"])
def test_change_of_a_segment_writes_a_token_and_an_entry(change: str) -> None:
    newest = newest_token()
    segment = Segment.objects.create(key="enterprise", conditions=[{"attribute": "plan"}])
    if change == "update":
        Segment.objects.update(conditions=[{"attribute": "seats"}])
    elif change == "delete":
        segment.delete()
    assert tokens_since(newest) == ("s" if change == "insert" else "ss")
    relation, pk, key, old, new = entries()[-1]
    assert (relation, pk, key) == ("s", str(segment.pk), "enterprise") or change == "delete"
    assert (old is None, new is None) == (change == "insert", change == "delete")


def test_segment_that_is_saved_unchanged_writes_no_entry() -> None:
    Segment.objects.create(key="enterprise", conditions=[]).save()
    assert [entry[0] for entry in entries()] == ["s"]


@pytest.mark.django_db(transaction=True)
def test_migrate_to_zero_removes_everything_and_can_be_redone(migrated: None) -> None:
    call_command("migrate", "flagstaff", "zero", verbosity=0)
    assert rows(OBJECTS) == []
    call_command("migrate", "flagstaff", verbosity=0)
    rows("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
    assert rows("SELECT key FROM flagstaff_change ORDER BY id") == [("a",)]


@pytest.mark.django_db(transaction=True)
def test_migrate_to_0001_removes_the_triggers(migrated: None) -> None:
    call_command("migrate", "flagstaff", "0001", verbosity=0)
    for table in TABLES_OF_0001:
        rows(f"DELETE FROM {table}")
    assert not any(name.endswith("_v1") for [name] in rows(OBJECTS))


# The constraints of the tables of an older version.
OLD_RELATIONS = """
    DELETE FROM flagstaff_token WHERE relation IN ('s', 'g', 'p', 'e');
    DELETE FROM flagstaff_change WHERE relation = 's';
    ALTER TABLE flagstaff_change DROP CONSTRAINT flagstaff_change_relation_check;
    ALTER TABLE flagstaff_change ADD CHECK (relation IN ('f', 'm', 'k'));
    ALTER TABLE flagstaff_token DROP CONSTRAINT flagstaff_token_relation_check;
    ALTER TABLE flagstaff_token ADD CHECK (relation IN ('f', 'm', 'k', 'b'));
"""
INSERT_SEGMENT = "INSERT INTO flagstaff_segment (key, conditions) VALUES ('enterprise', '[]')"


@pytest.fixture
def upgraded(migrated: None) -> None:
    """A database that was migrated while flags had no rules, and had a flag and a value."""
    call_command("migrate", "flagstaff", BEFORE_RULES, verbosity=0)
    rows(OLD_RELATIONS)
    rows("INSERT INTO flagstaff_featureflag (key, rollout_percent) VALUES ('a', 25)")
    rows("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('b', '1')")
    call_command("migrate", "flagstaff", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_flags_of_an_older_version_have_no_rules(upgraded: None) -> None:
    assert rows("SELECT key, rollout_percent, rules FROM flagstaff_featureflag") == [
        ("a", 25, "[]")
    ]


@pytest.mark.django_db(transaction=True)
def test_flags_of_an_older_version_are_bucketed_by_user(upgraded: None) -> None:
    assert rows("SELECT key, bucket_by FROM flagstaff_featureflag") == [("a", "user")]


@pytest.mark.django_db(transaction=True)
def test_segment_in_an_upgraded_database_is_recorded(upgraded: None) -> None:
    newest = newest_token()
    rows(INSERT_SEGMENT)
    assert tokens_since(newest) == "s"
    assert rows("SELECT key FROM flagstaff_change WHERE relation = 's'") == [("enterprise",)]


@pytest.mark.django_db(transaction=True)
def test_token_of_a_group_is_written_in_an_upgraded_database(upgraded: None) -> None:
    newest = newest_token()
    rows("""SELECT flagstaff_write_token_v1('g'::"char")""")
    assert tokens_since(newest) == "g"


@pytest.mark.django_db(transaction=True)
def test_flag_without_rules_is_inserted_by_an_older_process(upgraded: None) -> None:
    rows("INSERT INTO flagstaff_featureflag (key, enabled) VALUES ('c', true)")
    assert rows("SELECT rules FROM flagstaff_featureflag WHERE key = 'c'") == [("[]",)]


def test_reversed_install_tables_drops_the_triggers_of_a_project() -> None:
    state = run(ProjectState(), *models_of_a_project(PKS["integer"][0]), INSTALL)
    reverse(state, InstallTables(), app="flagstaff")
    rows("INSERT INTO common_keyvaluestore (\"Name\", value) VALUES ('a', '1')")
    assert not any(name.endswith("_v1") for [name] in rows(OBJECTS))


def test_second_installation_restores_disabled_triggers() -> None:
    before = rows("SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger ORDER BY oid")
    rows("ALTER TABLE flagstaff_keyvaluestore DISABLE TRIGGER flagstaff_token_v1")
    run(
        migrated_to("flagstaff", "0001_initial"),
        InstallTables(),
        InstallTriggers("flagstaff.FeatureFlag", "flagstaff.KeyValueStore"),
        app="flagstaff",
    )
    after = rows("SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger ORDER BY oid")
    assert after == before


# What earlier migrations installed, and the migration that replaces it.
OLD_BARRIER = """
    CREATE OR REPLACE FUNCTION flagstaff_barrier_v1() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'BEGIN RETURN public.flagstaff_write_token_v1(''b''); END'
"""
OLD_TOKEN = """
    CREATE OR REPLACE FUNCTION flagstaff_write_token_v1(of_relation "char") RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'BEGIN PERFORM pg_notify(''flagstaff_v1'', ''''); RETURN 0; END'
"""


@pytest.mark.parametrize(
    ("function", "old", "migration"),
    [
        ("flagstaff_barrier_v1", OLD_BARRIER, "0003_functions"),
        ("flagstaff_write_token_v1", OLD_TOKEN, "0004_separate_tables"),
    ],
)
def test_functions_of_an_older_version_are_replaced(
    function: str, old: str, migration: str
) -> None:
    definition = f"SELECT pg_get_functiondef('{function}'::regproc)"
    rights = f"SELECT proacl::text FROM pg_proc WHERE proname = '{function}'"
    current, granted = rows(definition), rows(rights)
    rows(old)
    assert rows(definition) != current
    state = migrated_to("flagstaff", "0002_tables")
    state = run(state, *operations_of(migration), app="flagstaff")
    assert (rows(definition), rows(rights)) == (current, granted)
    reverse(state, *operations_of(migration), app="flagstaff")
    assert rows(definition) == current


@pytest.fixture
def state_with_entries_of_an_older_version() -> ProjectState:
    """The models of flagstaff and of a project, both watched; entries that name no table."""
    state = run(migrated_to("flagstaff", "0003_functions"), *models_of_a_project(PKS["integer"][0]))
    run(state.clone(), INSTALL)
    rows("DELETE FROM flagstaff_change")
    rows("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
    rows("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('b', '1')")
    rows("UPDATE flagstaff_change SET object_table = NULL")
    return state


TABLES_OF_ENTRIES = "SELECT key, object_table::text FROM flagstaff_change ORDER BY key"


def test_entries_of_an_older_version_get_the_only_table_that_has_had_rows(
    state_with_entries_of_an_older_version: ProjectState,
) -> None:
    # The project's tables have never had a row.
    state = state_with_entries_of_an_older_version
    run(state, *operations_of("0004_separate_tables"), app="flagstaff")
    assert rows(TABLES_OF_ENTRIES) == [
        ("a", "flagstaff_featureflag"),
        ("b", "flagstaff_keyvaluestore"),
    ]


def test_entries_of_an_older_version_get_no_table_if_two_have_had_rows(
    state_with_entries_of_an_older_version: ProjectState,
) -> None:
    state = state_with_entries_of_an_older_version
    state.apps.get_model("common", "FeatureFlag").objects.create(key="c").delete()
    rows("DELETE FROM flagstaff_change WHERE key = 'c'")
    run(state, *operations_of("0004_separate_tables"), app="flagstaff")
    assert rows(TABLES_OF_ENTRIES) == [("a", None), ("b", "flagstaff_keyvaluestore")]


@pytest.mark.django_db(transaction=True)
def test_change_while_older_entries_are_completed_is_recorded(join: Join) -> None:
    other = join("writer")
    other.set_name("psql")
    migration = MigrationExecutor(connection).loader.get_migration(
        "flagstaff", "0004_separate_tables"
    )
    assert migration.atomic is False
    [fill] = [one for one in migration.operations if isinstance(one, FillObjectTables)]
    with connection.schema_editor(atomic=True) as editor:
        fill.database_forwards("flagstaff", editor, ProjectState(), ProjectState())
        other.query("INSERT INTO flagstaff_featureflag (key) VALUES ('during')")
    assert rows("SELECT count(*) FROM flagstaff_change WHERE key = 'during'") == [(1,)]


def test_all_objects_are_in_the_schema_of_the_tables() -> None:
    rows('CREATE SCHEMA "O\'Neill"')
    rows('SET LOCAL search_path = "O\'Neill", public')
    state = migrated_to("auth", "0001_initial")
    for app, migration in MigrationExecutor(connection).loader.graph.forwards_plan(NEWEST):
        if app == "flagstaff":
            state = run(state, *operations_of(migration), app="flagstaff")
    rows("SET LOCAL search_path = pg_catalog")
    rows("INSERT INTO \"O'Neill\".flagstaff_featureflag (key) VALUES ('a')")
    assert rows('SELECT relation::text FROM "O\'Neill".flagstaff_token') == [("f",)]
    assert rows('SELECT key FROM "O\'Neill".flagstaff_change') == [("a",)]
    usage = "'\"O''Neill\".flagstaff_usage'"
    assert rows(f"SELECT to_regclass({usage}) IS NOT NULL") == [(True,)]
    rows('SET LOCAL search_path = "O\'Neill", public')
    delivery = "'\"O''Neill\".flagstaff_delivery'"
    assert rows(f"SELECT to_regclass({delivery}) IS NOT NULL") == [(True,)]
    reverse(state, *operations_of("0002_tables"), app="flagstaff")
    assert rows(f"SELECT to_regclass({delivery}) IS NOT NULL") == [(False,)]
    assert rows(f"SELECT to_regclass({usage}) IS NOT NULL") == [(False,)]


@pytest.mark.parametrize(("pk", "value", "recorded"), PKS.values(), ids=PKS)
def test_changes_of_a_projects_models_are_recorded(
    pk: models.Field[Any, Any], value: Any, recorded: Any
) -> None:
    state = run(ProjectState(), *models_of_a_project(pk), INSTALL)
    newest = newest_token()
    alice = state.apps.get_model("common", "Member").objects.create(pk=value)
    flag = state.apps.get_model("common", "FeatureFlag").objects.create(pk=value, key="a")
    flag.allowed_users.add(alice)
    flag.save()  # changes only the auto_now field
    state.apps.get_model("common", "KeyValueStore").objects.create(pk=value, key="b", value=[1])
    assert tokens_since(newest) == "fmfk"
    [_, allowed, stored] = entries()
    assert allowed == ("m", str(recorded), "a", "[]", f'["{recorded}"]' if recorded != 7 else "[7]")
    assert stored[:4] == ("k", str(recorded), "b", None)


def test_reversed_install_triggers_drops_only_its_own_triggers() -> None:
    operations = models_of_a_project(PKS["integer"][0])
    state = run(ProjectState(), *operations)
    run(state.clone(), INSTALL)
    reverse(state, INSTALL)
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(6,)]


def test_value_model_can_be_watched_alone() -> None:
    install = InstallTriggers(value_model="common.KeyValueStore")
    run(ProjectState(), *models_of_a_project(PKS["integer"][0]), install)
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(7,)]


def test_install_triggers_without_the_token_table_is_an_error() -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    with pytest.raises(FlagstaffError) as error, transaction.atomic():
        run(ProjectState(), *models_of_a_project(PKS["integer"][0]), INSTALL)
    assert str(error.value) == (
        'table "flagstaff_token" is not on the search path of database "default"; add '
        '("flagstaff", "0002_tables") to the dependencies of the migration, and change '
        "allow_migrate in your router to allow flagstaff there"
    )


class RefusingRouter:
    def allow_migrate(self, *arguments: object, **hints: object) -> bool:
        return False


def test_operations_respect_a_router_that_refuses(settings: Any) -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    state = run(ProjectState(), *models_of_a_project(PKS["integer"][0]))
    settings.DATABASE_ROUTERS = [RefusingRouter()]
    run(state.clone(), InstallTables(), InstallFunctions(), FillObjectTables(), INSTALL)
    reverse(state, InstallTables(), InstallFunctions(), INSTALL)
    assert rows("SELECT to_regclass('flagstaff_token')") == [(None,)]
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(6,)]


def test_operations_do_nothing_on_sqlite(tmp_path: Path) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    other = ConnectionHandler({"default": sqlite})["default"]
    with other.schema_editor() as editor:
        for operation in (InstallTables(), InstallFunctions(), FillObjectTables(), INSTALL):
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
    call_command("sqlmigrate", "flagstaff", "0002", stdout=printed)
    assert 'ON empty."flagstaff_featureflag"' in printed.getvalue()
    assert "{" not in printed.getvalue()


def test_every_ddl_file_is_used_once() -> None:
    folder = Path(flagstaff.__path__[0])
    used_in = (
        "operations.py",
        "_tables/app_trigger.py",
        "_tables/watched_groups.py",
        "cli/verbs/reader_role.py",
    )
    code = "".join((folder / file).read_text() for file in used_in)
    for file in (folder / "sql").glob("*.sql"):
        if "CREATE" in file.read_text() or "DROP" in file.read_text():
            assert code.count(f'"{file.stem}"') == 1, file.name
