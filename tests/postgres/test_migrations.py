"""What the migrations install, wherever the tables are, and that they take it back."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter
from django.db.utils import ConnectionHandler

import flagstaff
from flagstaff.exceptions import FlagstaffError
from flagstaff.operations import InstallTables, InstallTriggers, InstallUsage, InstallWebhooks

pytestmark = pytest.mark.django_db

TABLES = ["flagstaff_featureflag", "flagstaff_featureflag_allowed_users", "flagstaff_keyvaluestore"]
LEFT_BEHIND = """
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
    """Run a migration of these operations, and return the state of the models after it."""
    migration = migration_of(app, operations)
    with connection.schema_editor(atomic=True) as editor:
        return migration.apply(state, editor)


def take_back(state: ProjectState, *operations: Operation, app: str = "common") -> ProjectState:
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
    """A project's own flags and values: other columns, no `secret`, any primary key."""
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
    [[sources]] = rows(
        "SELECT string_agg(relation::text, '' ORDER BY id) FROM flagstaff_token WHERE id > %s",
        newest,
    )
    return str(sources)


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
    """Whatever a test takes back is there again after it."""
    yield
    call_command("migrate", verbosity=0)


def test_models_have_no_change_without_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("table", TABLES)
def test_every_watched_table_has_its_triggers(table: str) -> None:
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


def test_every_function_runs_as_its_owner_on_a_safe_path_for_nobody_else() -> None:
    functions = rows(
        "SELECT proname, prosecdef, 'search_path=pg_catalog, pg_temp' = ANY (proconfig), "
        "has_function_privilege('pg_monitor', oid, 'EXECUTE') "
        "FROM pg_proc WHERE proname LIKE 'flagstaff%%'"
    )
    assert len(functions) == 6
    assert {tuple(function[1:]) for function in functions} == {(True, True, False)}


def test_plain_insert_needs_no_more_than_a_flag_says() -> None:
    rows(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES ('a', true, 5);"
        """INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('a', '"stripe"')"""
    )
    assert rows("SELECT kind, description FROM flagstaff_featureflag") == [("release", "")]
    assert rows("SELECT secret, description FROM flagstaff_keyvaluestore") == [(False, "")]


@pytest.mark.django_db(transaction=True)
def test_zero_leaves_nothing_and_the_way_forward_stays_open(migrated: None) -> None:
    call_command("migrate", "flagstaff", "zero", verbosity=0)
    assert rows(LEFT_BEHIND) == []
    call_command("migrate", "flagstaff", verbosity=0)
    rows("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
    assert rows("SELECT key FROM flagstaff_change ORDER BY id") == [("a",)]


@pytest.mark.django_db(transaction=True)
def test_without_the_second_migration_writes_pass_untold(migrated: None) -> None:
    call_command("migrate", "flagstaff", "0001", verbosity=0)
    for table in TABLES:
        rows(f"DELETE FROM {table}")
    assert not any(name.endswith("_v1") for [name] in rows(LEFT_BEHIND))


def test_zero_frees_the_tables_of_a_project_too() -> None:
    state = run(ProjectState(), *models_of_a_project(PKS["integer"][0]), INSTALL)
    take_back(state, InstallTables(), app="flagstaff")
    rows("INSERT INTO common_keyvaluestore (\"Name\", value) VALUES ('a', '1')")
    assert not any(name.endswith("_v1") for [name] in rows(LEFT_BEHIND))


def test_triggers_can_be_installed_again() -> None:
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


def test_everything_lives_in_the_schema_that_the_tables_are_in() -> None:
    rows('CREATE SCHEMA "O\'Neill"')
    rows('SET LOCAL search_path = "O\'Neill", public')
    state = migrated_to("auth", "0001_initial")
    for migration in ("0001_initial", "0002_triggers", "0003_usage", "0004_outbox"):
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
    take_back(state, *operations_of("0004_outbox"), app="flagstaff")
    assert rows(f"SELECT to_regclass({delivery}) IS NOT NULL") == [(False,)]
    take_back(state, *operations_of("0003_usage"), app="flagstaff")
    assert rows(f"SELECT to_regclass({usage}) IS NOT NULL") == [(False,)]


@pytest.mark.parametrize(("pk", "value", "told"), PKS.values(), ids=PKS)
def test_models_of_a_project_are_watched(pk: models.Field[Any, Any], value: Any, told: Any) -> None:
    state = run(ProjectState(), *models_of_a_project(pk), INSTALL)
    newest = newest_token()
    alice = state.apps.get_model("common", "Member").objects.create(pk=value)
    flag = state.apps.get_model("common", "FeatureFlag").objects.create(pk=value, key="a")
    flag.allowed_users.add(alice)
    flag.save()  # moves nothing but the clock
    state.apps.get_model("common", "KeyValueStore").objects.create(pk=value, key="b", value=[1])
    assert tokens_since(newest) == "fmfk"
    [_, allowed, stored] = entries()
    assert allowed == ("m", str(told), "a", "[]", f'["{told}"]' if told != 7 else "[7]")
    assert stored[:4] == ("k", str(told), "b", None)


def test_triggers_of_a_project_are_taken_back_alone() -> None:
    operations = models_of_a_project(PKS["integer"][0])
    state = run(ProjectState(), *operations)
    run(state.clone(), INSTALL)
    take_back(state, INSTALL)
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(3,)]


def test_values_alone_can_be_watched() -> None:
    install = InstallTriggers(value_model="common.KeyValueStore")
    run(ProjectState(), *models_of_a_project(PKS["integer"][0]), install)
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(4,)]


def test_triggers_without_the_tables_of_flagstaff_say_what_is_missing() -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    with pytest.raises(FlagstaffError) as error, transaction.atomic():
        run(ProjectState(), *models_of_a_project(PKS["integer"][0]), INSTALL)
    assert str(error.value) == (
        'no table "flagstaff_token" on the search path of database "default"; let the migration '
        'depend on ("flagstaff", "0002_triggers"), and the router put flagstaff there'
    )


class Nowhere:
    def allow_migrate(self, *arguments: object, **hints: object) -> bool:
        return False


def test_router_that_refuses_is_respected(settings: Any) -> None:
    rows("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
    state = run(ProjectState(), *models_of_a_project(PKS["integer"][0]))
    settings.DATABASE_ROUTERS = [Nowhere()]
    run(state.clone(), InstallTables(), INSTALL)
    take_back(state, InstallTables(), INSTALL)
    assert rows("SELECT to_regclass('flagstaff_token')") == [(None,)]
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_v1'") == [(3,)]


def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    other = ConnectionHandler({"default": sqlite})["default"]
    with other.schema_editor() as editor:
        for operation in (InstallTables(), InstallUsage(), InstallWebhooks(), INSTALL):
            operation.database_forwards("common", editor, ProjectState(), ProjectState())
            operation.database_backwards("common", editor, ProjectState(), ProjectState())
    assert other.introspection.table_names() == []
    other.close()


def test_operation_can_be_written_into_a_migration() -> None:
    text, imports = OperationWriter(INSTALL, indentation=0).serialize()
    assert re.sub(r"\s+", " ", text) == (
        "flagstaff.operations.InstallTriggers( "
        "flag_model='common.FeatureFlag', value_model='common.KeyValueStore', ),"
    )
    assert imports == {"import flagstaff.operations"}


def test_statements_can_be_printed_before_there_are_tables() -> None:
    printed = io.StringIO()
    rows("CREATE SCHEMA empty; SET LOCAL search_path = empty")
    call_command("sqlmigrate", "flagstaff", "0002", stdout=printed)
    assert 'ON empty."flagstaff_featureflag"' in printed.getvalue()
    assert "{" not in printed.getvalue()


def test_every_installed_statement_is_in_a_file_that_is_used() -> None:
    folder = Path(flagstaff.__path__[0])
    used_in = folder / "operations.py", folder / "cli" / "reader_role.py"
    code = "".join(file.read_text() for file in used_in)
    for file in (folder / "sql").glob("*.sql"):
        if "CREATE" in file.read_text() or "DROP" in file.read_text():
            assert code.count(f'"{file.stem}"') == 1, file.name
