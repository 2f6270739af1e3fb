"""Writers that go past the application, and past the triggers: workers notice all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.workers import Worker

POLL_INTERVAL = 0.5
FLAGS = "flagstaff_featureflag"
ALLOWED = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
TABLES = (FLAGS, ALLOWED, VALUES)
# User 2 is on the allow-list, user 4 is not; the buckets of both are beyond the rollout.
ALLOW = f"""
    INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,
        is_staff, is_active, date_joined)
    SELECT id, 'user_' || id, '', '', '', '', false, false, true, now()
    FROM generate_series(2, 4) AS id;
    INSERT INTO {ALLOWED} (featureflag_id, user_id) SELECT id, 2 FROM {FLAGS};
"""
HAS_FLAG: list[Any] = ["flag_enabled", "new_checkout", 2]
GATEWAY: list[Any] = ["get_value", "gateway"]
PAYPAL = f"""UPDATE {VALUES} SET value = '"paypal"'"""
OFF = f"UPDATE {FLAGS} SET enabled = false"


@pytest.fixture
def shop(database: str) -> Iterator[psycopg.Connection[object]]:
    """A session that writes as psql does."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(ALLOW.encode())
        yield session


@pytest.fixture
def told(database: str, shop: object) -> Iterator[Worker]:
    """A worker whose polls are too rare to help."""
    with Worker(database, POLL_INTERVAL=60) as worker:
        assert worker.ask(*HAS_FLAG) is True
        yield worker


@pytest.fixture
def polls(database: str, shop: object) -> Iterator[Worker]:
    """A worker that looks twice a second."""
    with Worker(database, POLL_INTERVAL=POLL_INTERVAL) as worker:
        assert worker.ask(*HAS_FLAG) is True
        yield worker


def execute(session: psycopg.Connection[object], *statements: str) -> None:
    """One transaction."""
    with session.transaction():
        for statement in statements:
            session.execute(statement.encode())


PAST_DJANGO = {
    "TRUNCATE CASCADE": [f"TRUNCATE {FLAGS} CASCADE"],
    "TRUNCATE of the list": [f"TRUNCATE {ALLOWED}"],
    "cascade in the database": [
        f"ALTER TABLE {ALLOWED} ADD FOREIGN KEY (user_id) REFERENCES auth_user ON DELETE CASCADE",
        "DELETE FROM auth_user WHERE id = 2",
    ],
    "rename": [f"UPDATE {FLAGS} SET key = 'checkout'"],
    "ON CONFLICT": [
        f"""
        INSERT INTO {FLAGS} (key) VALUES ('new_checkout')
        ON CONFLICT (key) DO UPDATE SET enabled = false
        """
    ],
    "MERGE": [
        f"""
        MERGE INTO {FLAGS} AS f USING (VALUES ('new_checkout')) AS v (key) ON f.key = v.key
        WHEN MATCHED THEN UPDATE SET enabled = false
        """
    ],
    "WITH": [f"WITH gone AS (DELETE FROM {ALLOWED} RETURNING 1) SELECT count(*) FROM gone"],
    "view": [f"CREATE TEMP VIEW seen AS TABLE {FLAGS}", "UPDATE seen SET enabled = false"],
    "cursor": [
        f"DECLARE c CURSOR FOR SELECT FROM {FLAGS} FOR UPDATE",
        "MOVE c",
        f"UPDATE {FLAGS} SET enabled = false WHERE CURRENT OF c",
    ],
    "session_replication_role": ["SET LOCAL session_replication_role = replica", OFF],
    "triggers of the user disabled for another table": [
        f"ALTER TABLE {VALUES} DISABLE TRIGGER ALL",
        OFF,
        f"ALTER TABLE {VALUES} ENABLE TRIGGER ALL",
    ],
}


@pytest.mark.parametrize("statements", PAST_DJANGO.values(), ids=PAST_DJANGO)
def test_sql_is_seen_within_a_second(
    statements: list[str], shop: psycopg.Connection[object], told: Worker
) -> None:
    if "MERGE" in statements[0] and shop.info.server_version < 150_000:
        pytest.skip("MERGE came with PostgreSQL 15")
    execute(shop, *statements)
    told.sees(HAS_FLAG, False, within=1)


def test_copy_is_seen_within_a_second(shop: psycopg.Connection[object], told: Worker) -> None:
    with shop.cursor() as cursor, cursor.copy(f"COPY {VALUES} (key, value) FROM STDIN") as copy:
        copy.write_row(["limit", "25"])
    told.sees(["get_value", "limit"], 25, within=1)


@pytest.mark.parametrize("how", ["clear_users", "set_users", "delete_user", "rename"])
def test_the_orm_is_seen_within_a_second(how: str, told: Worker) -> None:
    told.ask("call", f"tests.faults.writes.{how}")
    told.sees(HAS_FLAG, False, within=1)


def test_an_addition_is_seen_within_a_second(told: Worker) -> None:
    assert told.ask("flag_enabled", "new_checkout", 4) is False
    told.ask("call", "tests.faults.writes.add_user")
    told.sees(["flag_enabled", "new_checkout", 4], True, within=1)


def without_triggers(*statements: str) -> list[str]:
    """The statements as `pg_restore --disable-triggers` wraps them."""
    return [
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in TABLES),
        *statements,
        *(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in TABLES),
    ]


def replaced(table: str, change: str) -> list[str]:
    """The table's rows in a new table under the old name, then a change."""
    return [
        f"CREATE TABLE fresh (LIKE {table} INCLUDING ALL)",
        f"INSERT INTO fresh OVERRIDING SYSTEM VALUE TABLE {table}",
        f"ALTER TABLE {table} RENAME TO stale",
        f"ALTER TABLE fresh RENAME TO {table}",
        change,
    ]


def watched(table: str, source: str) -> list[str]:
    """What a restore makes after the rows: the trigger."""
    return [
        f"""
        CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1({source})
        """,
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER flagstaff_token_v1",
    ]


UNTOLD_FOR_A_MOMENT = {
    "flags without triggers": (without_triggers(OFF), HAS_FLAG, False),
    "values without triggers": (without_triggers(PAYPAL), GATEWAY, "paypal"),
    "lists without triggers": (without_triggers(f"DELETE FROM {ALLOWED}"), HAS_FLAG, False),
    "flags made anew": ([*replaced(FLAGS, OFF), *watched(FLAGS, "f")], HAS_FLAG, False),
    "lists made anew": (
        [*replaced(ALLOWED, f"DELETE FROM {ALLOWED}"), *watched(ALLOWED, "m")],
        HAS_FLAG,
        False,
    ),
    "values made anew": ([*replaced(VALUES, PAYPAL), *watched(VALUES, "k")], GATEWAY, "paypal"),
}


@pytest.mark.parametrize(
    ("statements", "question", "answer"), UNTOLD_FOR_A_MOMENT.values(), ids=UNTOLD_FOR_A_MOMENT
)
def test_what_left_no_token_is_seen_at_the_next_poll(
    statements: list[str],
    question: list[Any],
    answer: object,
    shop: psycopg.Connection[object],
    polls: Worker,
) -> None:
    execute(shop, *statements)
    polls.sees(question, answer, within=POLL_INTERVAL + 1)
    assert polls.ask("mode") == "live"
    # And it is told of changes as before.
    execute(shop, f"UPDATE {VALUES} SET value = '1'")
    polls.sees(GATEWAY, 1, within=POLL_INTERVAL)


UNTOLD = {
    "disabled": [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in TABLES],
    "disabled on one table": [f"ALTER TABLE {VALUES} DISABLE TRIGGER flagstaff_token_v1"],
    "replica only": [f"ALTER TABLE {VALUES} ENABLE REPLICA TRIGGER flagstaff_token_v1"],
    "dropped": [f"DROP TRIGGER flagstaff_token_v1 ON {VALUES}"],
    "function dropped": ["DROP FUNCTION flagstaff_token_v1 CASCADE"],
    "table swapped": replaced(VALUES, "SELECT"),
}


@pytest.mark.parametrize("statements", UNTOLD.values(), ids=UNTOLD)
def test_without_a_trigger_every_poll_loads_and_the_status_says_so(
    statements: list[str], shop: psycopg.Connection[object], polls: Worker
) -> None:
    execute(shop, *statements, PAYPAL)
    polls.sees(GATEWAY, "paypal", within=POLL_INTERVAL + 1)
    polls.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    assert "trigger" in polls.ask("status")["mode_reason"]
    for number in range(3):
        execute(shop, f"UPDATE {VALUES} SET value = '{number}'")
        polls.sees(GATEWAY, number, within=POLL_INTERVAL + 1)


@pytest.mark.timeout(120)
def test_without_a_trigger_allow_lists_are_loaded_each_minute(
    shop: psycopg.Connection[object], polls: Worker
) -> None:
    execute(shop, *UNTOLD["disabled"])
    polls.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    execute(shop, f"DELETE FROM {ALLOWED}")
    # The minute is varied by a tenth.
    polls.sees(HAS_FLAG, False, within=66 + POLL_INTERVAL + 1)


def test_triggers_that_are_back_make_the_worker_live_again(
    shop: psycopg.Connection[object], polls: Worker
) -> None:
    execute(shop, *UNTOLD["disabled"])
    polls.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    execute(shop, f"DELETE FROM {ALLOWED}", *without_triggers()[3:])
    polls.sees(HAS_FLAG, False, within=POLL_INTERVAL + 1)
    polls.sees(["mode"], "live", within=POLL_INTERVAL + 1)
    assert polls.ask("status")["mode_reason"] is None


def test_a_stream_of_other_changes_does_not_put_the_poll_off(
    database: str, shop: psycopg.Connection[object]
) -> None:
    """Each notification loads at once; what nobody tells of must not have to wait for a pause."""
    with Worker(database, POLL_INTERVAL=1) as worker:
        assert worker.ask(*HAS_FLAG) is True
        execute(shop, f"ALTER TABLE {FLAGS} DISABLE TRIGGER ALL", OFF)
        for number in range(30):
            execute(shop, f"UPDATE {VALUES} SET value = '{number}'")
            worker.ask("until", GATEWAY, number, 0.1)
            if worker.ask(*HAS_FLAG) is False:
                return
            worker.ask("until", GATEWAY, None, 0.1)
    pytest.fail("a stream of notifications keeps the worker from looking at the triggers")
