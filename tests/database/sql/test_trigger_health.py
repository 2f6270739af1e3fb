"""Python and `identify_v1.sql`, which workers use, agree on whether changes write tokens."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.rows import dict_row

from flagstaff._tables.names import fill, names, sql
from flagstaff._tables.triggers import FamilyTriggers, triggers_of
from tests.support.sql import rows

pytestmark = pytest.mark.django_db

TABLE = "flagstaff_featureflag"
LOADED_TABLES = ("flag_table", "allowed_users_table", "value_table", "segment_table")
TOKEN_TRIGGERS = tuple(
    f"flagstaff_token_{event}_v1" for event in ("insert", "update", "delete", "truncate")
)
TOKEN_TRIGGER_OF_HEIR = (
    "CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heir "
    "FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1(f); "
    "ALTER TABLE heir ENABLE ALWAYS TRIGGER flagstaff_token_v1"
)
NOTHING = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"


def other_function(name: str) -> str:
    return (
        f"CREATE FUNCTION {name}() {NOTHING}; "
        f"CREATE OR REPLACE TRIGGER flagstaff_token_insert_v1 AFTER INSERT ON {TABLE} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}(); "
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER flagstaff_token_insert_v1"
    )


def one_trigger(definition: str) -> str:
    """All token triggers are replaced by one that passes no columns."""
    drops = "; ".join(f"DROP TRIGGER {trigger} ON {TABLE}" for trigger in TOKEN_TRIGGERS)
    return (
        f"{drops}; CREATE TRIGGER flagstaff_token_v1 {definition} "
        "EXECUTE FUNCTION flagstaff_token_v1(f); "
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER flagstaff_token_v1"
    )


def insert_trigger(definition: str) -> str:
    """The trigger of INSERT is replaced."""
    return (
        f"CREATE OR REPLACE TRIGGER flagstaff_token_insert_v1 {definition} "
        "EXECUTE FUNCTION flagstaff_token_v1(f); "
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER flagstaff_token_insert_v1"
    )


# Statements, and whether the table of flags then writes tokens.
TOKEN_CASES = {
    "as installed": ("", True),
    "enabled in ordinary sessions": (
        f"ALTER TABLE {TABLE} ENABLE TRIGGER flagstaff_token_update_v1",
        False,
    ),
    "replica only": (
        f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER flagstaff_token_update_v1",
        False,
    ),
    **{
        f"disabled {trigger}": (f"ALTER TABLE {TABLE} DISABLE TRIGGER {trigger}", False)
        for trigger in TOKEN_TRIGGERS
    },
    **{
        f"missing {trigger}": (f"DROP TRIGGER {trigger} ON {TABLE}", False)
        for trigger in TOKEN_TRIGGERS
    },
    "one trigger of every event": (
        one_trigger(f"AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {TABLE} FOR EACH STATEMENT"),
        True,
    ),
    "one trigger without TRUNCATE": (
        one_trigger(f"AFTER INSERT OR UPDATE OR DELETE ON {TABLE} FOR EACH STATEMENT"),
        False,
    ),
    "trigger of each row": (insert_trigger(f"AFTER INSERT ON {TABLE} FOR EACH ROW"), False),
    "trigger before": (insert_trigger(f"BEFORE INSERT ON {TABLE} FOR EACH STATEMENT"), False),
    "trigger with a condition": (
        insert_trigger(
            f"AFTER INSERT ON {TABLE} FOR EACH STATEMENT WHEN (current_user <> 'replicator')"
        ),
        False,
    ),
    "trigger of one column": (
        (
            f"CREATE OR REPLACE TRIGGER flagstaff_token_update_v1 AFTER UPDATE OF key ON {TABLE} "
            "FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1(f); "
            f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER flagstaff_token_update_v1"
        ),
        False,
    ),
    "all disabled": (f"ALTER TABLE {TABLE} DISABLE TRIGGER USER", False),
    "missing function": ("DROP FUNCTION flagstaff_token_v1 CASCADE", False),
    "missing table": (f"DROP TABLE {TABLE} CASCADE", False),
    "renamed table": (f"ALTER TABLE {TABLE} RENAME TO other", False),
    "renamed trigger": (
        f"ALTER TRIGGER flagstaff_token_update_v1 ON {TABLE} RENAME TO other",
        True,
    ),
    "renamed function": ("ALTER FUNCTION flagstaff_token_v1 RENAME TO other", False),
    "newer function": ("ALTER FUNCTION flagstaff_token_v1 RENAME TO flagstaff_token_v2", True),
    "function with a similar name": (other_function("flagstaff_tokens"), False),
    "function of a project": (other_function("my_function"), False),
    "replaced function": (f"CREATE OR REPLACE FUNCTION flagstaff_token_v1() {NOTHING}", False),
    "replaced function of tokens": (
        (
            "CREATE OR REPLACE FUNCTION "
            'flagstaff_write_token_v1(of_relation "char", of_pks text[]) '
            "RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 0; END'"
        ),
        False,
    ),
    "replaced function of the history": (
        f"CREATE OR REPLACE FUNCTION flagstaff_row_history_v1() {NOTHING}",
        True,
    ),
    "function of an older version, without a hash": (
        (
            "COMMENT ON FUNCTION flagstaff_token_v1() IS NULL; "
            f"CREATE OR REPLACE FUNCTION flagstaff_token_v1() {NOTHING}"
        ),
        True,
    ),
    "function with a comment of a project": (
        "COMMENT ON FUNCTION flagstaff_token_v1() IS 'do not touch'",
        True,
    ),
    "heir": (f"CREATE TABLE heir () INHERITS ({TABLE})", False),
    "heir of an heir": (
        (
            f"CREATE TABLE heir () INHERITS ({TABLE}); {TOKEN_TRIGGER_OF_HEIR}; "
            "CREATE TABLE grandchild () INHERITS (heir)"
        ),
        False,
    ),
    "heir with a token trigger": (
        f"CREATE TABLE heir () INHERITS ({TABLE}); {TOKEN_TRIGGER_OF_HEIR}",
        True,
    ),
    "heir with a disabled token trigger": (
        (
            f"CREATE TABLE heir () INHERITS ({TABLE}); {TOKEN_TRIGGER_OF_HEIR}; "
            "ALTER TABLE heir DISABLE TRIGGER flagstaff_token_v1"
        ),
        False,
    ),
    "heir with a token trigger in ordinary sessions": (
        (
            f"CREATE TABLE heir () INHERITS ({TABLE}); {TOKEN_TRIGGER_OF_HEIR}; "
            "ALTER TABLE heir ENABLE TRIGGER flagstaff_token_v1"
        ),
        False,
    ),
    "temporary heir": (f"CREATE TEMPORARY TABLE heir () INHERITS ({TABLE})", True),
    "disabled history": (f"ALTER TABLE {TABLE} DISABLE TRIGGER flagstaff_history_insert_v1", True),
}

HISTORY_TRIGGER = "flagstaff_history_update_v1"
# Statements, and whether the table of flags then writes every change to the history.
HISTORY_CASES = {
    "as installed": ("", True),
    "always": (f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {HISTORY_TRIGGER}", True),
    "replica only": (f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER {HISTORY_TRIGGER}", False),
    "disabled": (f"ALTER TABLE {TABLE} DISABLE TRIGGER {HISTORY_TRIGGER}", False),
    "missing trigger": (f"DROP TRIGGER {HISTORY_TRIGGER} ON {TABLE}", False),
    "older trigger": (
        f"ALTER TRIGGER {HISTORY_TRIGGER} ON {TABLE} RENAME TO flagstaff_history_update_v0",
        True,
    ),
    "missing insert trigger": (f"DROP TRIGGER flagstaff_history_insert_v1 ON {TABLE}", False),
    "renamed function": ("ALTER FUNCTION flagstaff_row_history_v1 RENAME TO other", False),
    "replaced function": (
        f"CREATE OR REPLACE FUNCTION flagstaff_row_history_v1() {NOTHING}",
        False,
    ),
    "disabled token": (f"ALTER TABLE {TABLE} DISABLE TRIGGER flagstaff_token_update_v1", True),
}


def triggers() -> dict[str, FamilyTriggers]:
    """The triggers of each loaded table."""
    quoted = names(connection)
    return triggers_of(connection, [quoted[table] for table in LOADED_TABLES])


READ_POINT = sql("read_point_v1").replace("$1", "$3").replace("$2", "$3")


def identified(column: str) -> Any:
    """A column of identify_v1, as a worker reads it."""
    quoted = names(connection)
    tables = [quoted["token_table"], [quoted[name] for name in LOADED_TABLES]]
    catalog = f"(SELECT catalog FROM ({READ_POINT}) AS it)"
    statement = fill(sql("identify_v1"), {"catalog": catalog})
    with psycopg.RawCursor(connection.connection, row_factory=dict_row) as cursor:
        row = cursor.execute(statement, [*tables, tables[1]]).fetchone()
    assert row
    return row[column]


@pytest.mark.parametrize(("statements", "expected"), TOKEN_CASES.values(), ids=TOKEN_CASES)
def test_token_triggers_are_judged_alike_in_python_and_sql(statements: str, expected: bool) -> None:
    rows(statements or "SELECT 1")
    found = triggers()
    assert found[f'"{TABLE}"'].write_tokens is expected
    assert all(one.write_tokens for one in found.values()) is expected
    lacking = "functions" if "CREATE OR REPLACE FUNCTION" in statements else "triggers"
    assert identified("lacking") == (None if expected else lacking)


def test_tables_without_all_token_triggers_are_named() -> None:
    rows(
        f"CREATE TABLE heir () INHERITS ({TABLE}); "
        "DROP TRIGGER flagstaff_token_truncate_v1 ON flagstaff_keyvaluestore"
    )
    assert identified("lacking_in") == "flagstaff_keyvaluestore, heir"


@pytest.mark.parametrize(
    ("table", "expected"), [(TABLE, True), ("flagstaff_token", True), ("auth_user", False)]
)
def test_tokens_of_a_subscriber_do_not_name_its_rows(table: str, expected: bool) -> None:
    assert identified("names_rows") is True
    rows(
        "CREATE SUBSCRIPTION shop CONNECTION 'dbname=shop' PUBLICATION shop "
        "WITH (connect = false, slot_name = NONE)"
    )
    rows(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) "
        "SELECT oid, %s::regclass, 'r' FROM pg_subscription",
        table,
    )
    assert identified("names_rows") is (not expected)


def test_arguments_of_token_triggers_are_the_columns_of_the_keys() -> None:
    expected = {b"f\0id\0", b"m\0featureflag_id\0user_id\0", b"k\0id\0", b"s\0id\0"}
    assert {*identified("key_arguments")} == expected
    rows(f"CREATE TABLE heir () INHERITS ({TABLE}); {TOKEN_TRIGGER_OF_HEIR}")
    assert {*identified("key_arguments")} == expected | {b"f\0"}


def test_table_that_inherited_between_two_looks_changes_the_shape() -> None:
    before = identified("shape")
    rows(f"CREATE TABLE heir () INHERITS ({TABLE}); DROP TABLE heir")
    assert identified("shape") != before


@pytest.mark.parametrize(("statements", "expected"), HISTORY_CASES.values(), ids=HISTORY_CASES)
def test_history_is_written_only_with_all_triggers_firing(statements: str, expected: bool) -> None:
    rows(statements or "SELECT 1")
    found = triggers()
    assert found[f'"{TABLE}"'].write_history is expected
    # The tables share the functions.
    of_values = found['"flagstaff_keyvaluestore"']
    assert of_values.write_history is ("FUNCTION" not in statements)
