"""What is wrong with the tables is told, and what the hints say mends it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import OperationalError, connection, connections, models

from flagstaff._tables.names import fill, sql
from flagstaff._tables.triggers import watched_tables
from flagstaff.checks.database import check_database
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.models_of_others import flag_fields, model_of, value_fields

pytestmark = pytest.mark.django_db

FLAGS, VALUES = "public.flagstaff_featureflag", "public.flagstaff_keyvaluestore"
ALLOWED = "public.flagstaff_featureflag_allowed_users"
INSTALL = 'run "manage.py sqlmigrate flagstaff 0002_triggers | manage.py dbshell"'


def told() -> list[CheckMessage]:
    """What the checks of the database say. Each has something to do about it."""
    found = run_checks(tags=["flagstaff", "database"], databases=["default"])
    assert all(message.hint for message in found)
    return found


def one() -> tuple[str, str, str]:
    """Id, text and hint of the one thing that is told."""
    [message] = told()
    return str(message.id), message.msg, str(message.hint)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def install_again() -> None:
    """Do what the hint says."""
    printed = io.StringIO()
    call_command("sqlmigrate", "flagstaff", "0002", stdout=printed)
    execute(re.sub("^(BEGIN|COMMIT);", "", printed.getvalue(), flags=re.MULTILINE))


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A project's own models, with their tables."""
    flag = model_of("FeatureFlag", flag_fields())
    value = model_of("KeyValueStore", value_fields())
    with connection.schema_editor() as editor:
        editor.create_model(flag)
        editor.create_model(value)
    monkeypatch.setattr(Conf, "flag_model", flag)
    monkeypatch.setattr(Conf, "value_model", value)
    return flag, value


def test_nothing_is_wrong_with_a_migrated_database() -> None:
    assert told() == []


def test_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused\n")

    monkeypatch.setattr(connections["default"], "ensure_connection", refuse)
    assert one() == (
        "flagstaff.W012",
        'database "default" does not answer: connection refused',
        "start it, or mend its settings in DATABASES; then run this check again",
    )


def test_tables_that_are_missing() -> None:
    execute(f"DROP TABLE {VALUES}; DROP TABLE flagstaff_token CASCADE")
    assert one() == (
        "flagstaff.W013",
        ('tables are missing in database "default": "flagstaff_token", "flagstaff_keyvaluestore"'),
        'run "manage.py migrate"',
    )


class Nowhere:
    def allow_migrate(self, *arguments: object, **hints: object) -> bool:
        return False


def test_tables_that_the_router_does_not_allow(settings: Any) -> None:
    execute(f"DROP TABLE {VALUES}")
    settings.DATABASE_ROUTERS = [Nowhere()]
    assert one()[2] == (
        'let DATABASE_ROUTERS allow flagstaff on "default"; then run "manage.py migrate"'
    )


def test_table_that_may_not_be_read() -> None:
    execute(
        "CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader; "
        f"GRANT SELECT ON {FLAGS}, {ALLOWED}, flagstaff_token TO reader; SET LOCAL ROLE reader"
    )
    assert one() == (
        "flagstaff.W014",
        f'role reader of database "default" may not read {VALUES}',
        f"let its owner run: GRANT SELECT ON {VALUES} TO reader;",
    )


def test_triggers_that_are_missing() -> None:
    execute(
        f"DROP TRIGGER flagstaff_token_v1 ON {FLAGS};"
        f"DROP TRIGGER flagstaff_token_v1 ON {VALUES};"
        f"DROP TRIGGER flagstaff_history_insert_v1 ON {VALUES}"
    )
    assert one() == (
        "flagstaff.W015",
        (
            f"triggers are missing: flagstaff_token_v1 on {FLAGS}; "
            f"flagstaff_token_v1, flagstaff_history_insert_v1 on {VALUES}"
        ),
        INSTALL,
    )
    install_again()
    assert told() == []


def test_triggers_that_no_migration_has_installed_yet() -> None:
    call_command("migrate", "flagstaff", "0001", verbosity=0)
    # Without the tables of tokens there is nothing to install.
    assert [message.id for message in told()] == ["flagstaff.W013"]


def test_triggers_that_are_missing_on_models_of_a_project(foreign: Any) -> None:
    check, message, hint = one()
    assert check == "flagstaff.W015"
    assert message == (
        "triggers are missing: all on public.common_featureflag; "
        "all on public.common_featureflag_allowed_users; all on public.common_keyvaluestore"
    )
    assert hint.splitlines()[1:] == [
        "    from flagstaff.operations import InstallTriggers",
        '    dependencies = [("flagstaff", "0004_outbox")]',
        '    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]',
    ]


@pytest.mark.parametrize("mode", ["DISABLE", "ENABLE REPLICA", "ENABLE"])
def test_trigger_that_does_not_always_fire(mode: str) -> None:
    execute(f"ALTER TABLE {ALLOWED} {mode} TRIGGER flagstaff_token_v1")
    assert one() == (
        "flagstaff.W016",
        f"triggers are disabled: flagstaff_token_v1 on {ALLOWED}",
        INSTALL,
    )
    install_again()
    assert told() == []


def test_triggers_that_are_all_disabled() -> None:
    execute(f"ALTER TABLE {FLAGS} DISABLE TRIGGER USER")
    assert one()[:2] == ("flagstaff.W016", f"triggers are disabled: all on {FLAGS}")


def test_history_that_is_replicated_fires_too() -> None:
    execute(f"ALTER TABLE {FLAGS} ENABLE ALWAYS TRIGGER flagstaff_history_insert_v1")
    assert told() == []


OUTDATED = {
    "another version": (
        f"ALTER TRIGGER flagstaff_history_insert_v1 ON {FLAGS} "
        "RENAME TO flagstaff_history_insert_v0"
    ),
    "other columns": f"""
        CREATE OR REPLACE TRIGGER flagstaff_history_insert_v1
        AFTER INSERT ON {FLAGS} REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_row_history_v1(f, id, name, '')
    """,
}


@pytest.mark.parametrize("change", OUTDATED.values(), ids=OUTDATED)
def test_trigger_that_is_outdated(change: str) -> None:
    execute(change)
    assert one() == (
        "flagstaff.W017",
        f"triggers are outdated: flagstaff_history_insert_v1 on {FLAGS}",
        INSTALL,
    )
    install_again()
    execute(f"DROP TRIGGER IF EXISTS flagstaff_history_insert_v0 ON {FLAGS}")
    assert told() == []


def test_triggers_of_a_model_that_has_changed_since(foreign: Any) -> None:
    flag, _value = foreign
    install(flag)
    renamed = models.CharField(max_length=100, unique=True, db_column="name")
    renamed.set_attributes_from_name("key")
    with connection.schema_editor() as editor:
        editor.alter_field(flag, flag._meta.get_field("key"), renamed)
    flag._meta.get_field("key").column = "name"
    checks = {message.id: message for message in told()}
    outdated = checks["flagstaff.W017"]
    assert "flagstaff_history_insert_v1" in outdated.msg
    assert 'operations = [InstallTriggers("common.FeatureFlag")]' in str(outdated.hint)


def install(flag: Any) -> None:
    """Install the triggers of a foreign model as they are now."""
    for watched in watched_tables(connection, flag, None):
        execute(fill(sql("triggers_v1"), {"schema": "public", **watched.places()}))


def test_command_that_is_just_mending_it_is_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    execute("DELETE FROM django_migrations WHERE app = 'flagstaff'")
    execute(f"DROP TABLE {VALUES}; DROP TRIGGER flagstaff_token_v1 ON {FLAGS}")
    assert [message.id for message in told()] == ["flagstaff.W013", "flagstaff.W015"]
    assert {message.hint for message in told()} == {'run "manage.py migrate"'}
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert told() == []


def test_keys_that_are_none() -> None:
    keys = ["new checkout", "a:b", "tab\t", "x" * 10, "ä.b-c_1", "z y"]
    FeatureFlag.objects.bulk_create([FeatureFlag(key=key) for key in keys])
    check, message, _hint = one()
    assert check == "flagstaff.W018"
    assert message.startswith("4 flags have a key with white space")
    assert message.endswith(": 'a:b', 'new checkout', 'tab\\t', …")


def test_what_a_check_cannot_read_leaves_the_transaction_usable() -> None:
    execute("CREATE ROLE nobody; GRANT USAGE ON SCHEMA public TO nobody; SET LOCAL ROLE nobody")
    assert {message.id for message in told()} == {"flagstaff.W014"}
    execute("RESET ROLE")
    assert FeatureFlag.objects.count() == 0


def test_model_without_its_fields_is_told_of_without_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag = model_of("FeatureFlag", flag_fields(allowed_users=None))
    monkeypatch.setattr(Conf, "flag_model", flag)
    assert [message.id for message in told()] == ["flagstaff.E005"]


def test_other_databases_are_not_asked() -> None:
    execute(f"DROP TRIGGER flagstaff_token_v1 ON {FLAGS}")
    assert check_database(databases=["another"]) == []
