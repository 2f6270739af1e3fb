"""Python and `identify_v1.sql`, which workers use, agree on whether changes write tokens."""

from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.rows import dict_row

from flagstaff._tables.catalog import FamilyTriggers, triggers_of
from flagstaff._tables.database import fill, names, sql
from tests.support.sql import rows

TABLE = "flagstaff_featureflag"
LOADED_TABLES = ("flag_table", "allowed_users_table", "value_table", "segment_table")
INSERT, UPDATE, DELETE, TRUNCATE = TOKEN_TRIGGERS = tuple(
    f"flagstaff_token_{event}_v1" for event in ("insert", "update", "delete", "truncate")
)
NOTHING = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
WRITE_TOKEN = """flagstaff_write_token_v1(of_relation "char", of_pks text[])"""
HEIR = f"CREATE TABLE heir () INHERITS ({TABLE})"


def trigger(
    name: str, definition: str, function: str = "flagstaff_token_v1(f)", table: str = TABLE
) -> str:
    """Creates or replaces a trigger that always fires."""
    return (
        f"CREATE OR REPLACE TRIGGER {name} {definition} EXECUTE FUNCTION {function}; "
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
    )


def one_trigger(events: str) -> str:
    """Replaces all token triggers by one that passes no columns."""
    drops = "; ".join(f"DROP TRIGGER {name} ON {TABLE}" for name in TOKEN_TRIGGERS)
    return f"{drops}; {trigger(ONE, f'AFTER {events} ON {TABLE} FOR EACH STATEMENT')}"


ONE, ALL_EVENTS = "flagstaff_token_v1", "INSERT OR UPDATE OR DELETE OR TRUNCATE"
HEIR_WITH_TRIGGER = (
    f"{HEIR}; {trigger(ONE, f'AFTER {ALL_EVENTS} ON heir FOR EACH STATEMENT', table='heir')}"
)

# Statements after which the table of flags writes tokens, and after which it does not.
WITH_TOKENS = {
    "as installed": "SELECT 1",
    "one trigger of every event": one_trigger(ALL_EVENTS),
    "renamed trigger": f"ALTER TRIGGER {UPDATE} ON {TABLE} RENAME TO other",
    "newer function": "ALTER FUNCTION flagstaff_token_v1 RENAME TO flagstaff_token_v2",
    "replaced function of the history": (
        f"CREATE OR REPLACE FUNCTION flagstaff_row_history_v1() {NOTHING}"
    ),
    "function of an older version, without a hash": (
        "COMMENT ON FUNCTION flagstaff_token_v1() IS NULL; "
        f"CREATE OR REPLACE FUNCTION flagstaff_token_v1() {NOTHING}"
    ),
    "function with a comment of a project": (
        "COMMENT ON FUNCTION flagstaff_token_v1() IS 'do not touch'"
    ),
    "heir with a token trigger": HEIR_WITH_TRIGGER,
    "temporary heir": HEIR.replace("TABLE", "TEMPORARY TABLE"),
    "disabled history": f"ALTER TABLE {TABLE} DISABLE TRIGGER flagstaff_history_insert_v1",
}
WITHOUT_TOKENS = {
    "enabled in ordinary sessions": f"ALTER TABLE {TABLE} ENABLE TRIGGER {UPDATE}",
    "replica only": f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER {UPDATE}",
    **{
        f"disabled {name}": f"ALTER TABLE {TABLE} DISABLE TRIGGER {name}" for name in TOKEN_TRIGGERS
    },
    **{f"missing {name}": f"DROP TRIGGER {name} ON {TABLE}" for name in TOKEN_TRIGGERS},
    "one trigger without TRUNCATE": one_trigger("INSERT OR UPDATE OR DELETE"),
    "trigger of each row": trigger(INSERT, f"AFTER INSERT ON {TABLE} FOR EACH ROW"),
    "trigger before": trigger(INSERT, f"BEFORE INSERT ON {TABLE} FOR EACH STATEMENT"),
    "trigger with a condition": trigger(
        INSERT, f"AFTER INSERT ON {TABLE} FOR EACH STATEMENT WHEN (current_user <> 'replicator')"
    ),
    "trigger of one column": trigger(UPDATE, f"AFTER UPDATE OF key ON {TABLE} FOR EACH STATEMENT"),
    "all disabled": f"ALTER TABLE {TABLE} DISABLE TRIGGER USER",
    "missing function": "DROP FUNCTION flagstaff_token_v1 CASCADE",
    "missing table": f"DROP TABLE {TABLE} CASCADE",
    "renamed table": f"ALTER TABLE {TABLE} RENAME TO other",
    "renamed function": "ALTER FUNCTION flagstaff_token_v1 RENAME TO other",
    **{
        f"function {name}": f"CREATE FUNCTION {name}() {NOTHING}; "
        + trigger(INSERT, f"AFTER INSERT ON {TABLE} FOR EACH STATEMENT", f"{name}()")
        for name in ("my_function", "flagstaff_tokens")
    },
    "replaced function": f"CREATE OR REPLACE FUNCTION flagstaff_token_v1() {NOTHING}",
    "replaced function of tokens": (
        f"CREATE OR REPLACE FUNCTION {WRITE_TOKEN} "
        "RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 0; END'"
    ),
    "heir": HEIR,
    "heir of an heir": f"{HEIR_WITH_TRIGGER}; CREATE TABLE grandchild () INHERITS (heir)",
    "heir with a disabled token trigger": (
        f"{HEIR_WITH_TRIGGER}; ALTER TABLE heir DISABLE TRIGGER {ONE}"
    ),
    "heir with a token trigger in ordinary sessions": (
        f"{HEIR_WITH_TRIGGER}; ALTER TABLE heir ENABLE TRIGGER {ONE}"
    ),
}

HISTORY = "flagstaff_history_update_v1"
# Statements after which the table of flags writes every change to the history, or does not.
WITH_HISTORY = {
    "as installed": "SELECT 1",
    "always": f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {HISTORY}",
    "older trigger": (f"ALTER TRIGGER {HISTORY} ON {TABLE} RENAME TO flagstaff_history_update_v0"),
    "disabled token": f"ALTER TABLE {TABLE} DISABLE TRIGGER {UPDATE}",
}
WITHOUT_HISTORY = {
    "replica only": f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER {HISTORY}",
    "disabled": f"ALTER TABLE {TABLE} DISABLE TRIGGER {HISTORY}",
    "missing trigger": f"DROP TRIGGER {HISTORY} ON {TABLE}",
    "missing insert trigger": f"DROP TRIGGER flagstaff_history_insert_v1 ON {TABLE}",
    "renamed function": "ALTER FUNCTION flagstaff_row_history_v1 RENAME TO other",
    "replaced function": f"CREATE OR REPLACE FUNCTION flagstaff_row_history_v1() {NOTHING}",
}


def cases(with_: dict[str, str], without: dict[str, str]) -> list[Any]:
    """The statements with True, and those with False."""
    return [
        pytest.param(statements, expected, id=name)
        for expected, named in ((True, with_), (False, without))
        for name, statements in named.items()
    ]


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


@pytest.mark.parametrize(("statements", "expected"), cases(WITH_TOKENS, WITHOUT_TOKENS))
def test_token_triggers_are_judged_alike_in_python_and_sql(statements: str, expected: bool) -> None:
    rows(statements)
    states = triggers()
    assert states[f'"{TABLE}"'].write_tokens is expected
    assert all(health.write_tokens for health in states.values()) is expected
    lacking = "functions" if "CREATE OR REPLACE FUNCTION" in statements else "triggers"
    assert identified("lacking") == (None if expected else lacking)


def test_tables_without_all_token_triggers_are_named() -> None:
    rows(f"{HEIR}; DROP TRIGGER flagstaff_token_truncate_v1 ON flagstaff_keyvaluestore")
    assert identified("lacking_in") == "flagstaff_keyvaluestore, heir"


@pytest.mark.parametrize(
    ("table", "expected"), [(TABLE, True), ("flagstaff_token", True), ("auth_user", False)]
)
def test_tokens_of_a_subscriber_do_not_name_its_rows(table: str, expected: bool) -> None:
    assert identified("subscribed") is False
    rows(
        "CREATE SUBSCRIPTION shop CONNECTION 'dbname=shop' PUBLICATION shop "
        "WITH (connect = false, slot_name = NONE)"
    )
    rows(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) "
        "SELECT oid, %s::regclass, 'r' FROM pg_subscription",
        table,
    )
    assert identified("subscribed") is expected


def test_arguments_of_token_triggers_are_the_columns_of_the_keys() -> None:
    expected = {b"f\0id\0", b"m\0featureflag_id\0user_id\0", b"k\0id\0", b"s\0id\0"}
    assert {*identified("key_arguments")} == expected
    rows(HEIR_WITH_TRIGGER)
    assert {*identified("key_arguments")} == expected | {b"f\0"}


def test_table_that_inherited_between_two_looks_changes_the_shape() -> None:
    before = identified("shape")
    rows(f"{HEIR}; DROP TABLE heir")
    assert identified("shape") != before


@pytest.mark.parametrize(("statements", "expected"), cases(WITH_HISTORY, WITHOUT_HISTORY))
def test_history_is_written_only_with_all_triggers_firing(statements: str, expected: bool) -> None:
    rows(statements)
    states = triggers()
    assert states[f'"{TABLE}"'].write_history is expected
    # The tables share the functions.
    of_values = states['"flagstaff_keyvaluestore"']
    assert of_values.write_history is ("FUNCTION" not in statements)
