"""Writes by SQL that leave no token reach the workers.

tests/database/sql/test_statements.py has the tokens of those that leave some.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.sql import insert_users
from tests.support.workers import GATEWAY, Worker
from tools.token_triggers import always

POLL_INTERVAL = 0.5
FLAGS = "flagstaff_featureflag"
ALLOWED = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
TABLES = (FLAGS, ALLOWED, VALUES)
# User 2 is allowed, user 4 is not. The buckets of both are outside the rollout.
ALLOW = insert_users(2, 4) + (
    f"INSERT INTO {ALLOWED} (featureflag_id, user_id) SELECT id, 2 FROM {FLAGS}"
)
HAS_FLAG: list[Any] = ["flag_enabled", "new_checkout", 2]
PAYPAL = f"""UPDATE {VALUES} SET value = '"paypal"'"""
OFF = f"UPDATE {FLAGS} SET enabled = false"


@pytest.fixture
def shop(database: str) -> Iterator[psycopg.Connection[object]]:
    """A session that writes SQL."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(ALLOW.encode())
        yield session


@pytest.fixture
def polling(database: str, shop: object) -> Iterator[Worker]:
    """A worker that polls twice a second."""
    with Worker(database, POLL_INTERVAL=POLL_INTERVAL) as worker:
        assert worker.ask(*HAS_FLAG) is True
        yield worker


def execute(session: psycopg.Connection[object], *statements: str) -> None:
    """Executes the statements in one transaction."""
    with session.transaction():
        for statement in statements:
            session.execute(statement.encode())


def disabled(*tables: str) -> list[str]:
    return [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables]


def without_triggers(*statements: str) -> list[str]:
    """Returns statements that disable the triggers, and then make them fire as before."""
    return [*disabled(*TABLES), *statements, *map(always, TABLES)]


def replaced(table: str, change: str) -> list[str]:
    """Returns statements that replace a table by a copy without triggers, and then change it."""
    return [
        f"CREATE TABLE fresh (LIKE {table} INCLUDING ALL)",
        f"INSERT INTO fresh OVERRIDING SYSTEM VALUE TABLE {table}",
        f"ALTER TABLE {table} RENAME TO stale",
        f"ALTER TABLE fresh RENAME TO {table}",
        change,
    ]


def with_trigger(table: str, relation: str) -> list[str]:
    """Returns statements that create the trigger, as a restore does after the rows."""
    return [
        f"""
        CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1({relation})
        """,
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER flagstaff_token_v1",
    ]


WITHOUT_TOKEN = {
    "flags without triggers": (without_triggers(OFF), HAS_FLAG, False),
    "values without triggers": (without_triggers(PAYPAL), GATEWAY, "paypal"),
    "allowed users without triggers": (without_triggers(f"DELETE FROM {ALLOWED}"), HAS_FLAG, False),
    "flags replaced": ([*replaced(FLAGS, OFF), *with_trigger(FLAGS, "f")], HAS_FLAG, False),
    "allowed users replaced": (
        [*replaced(ALLOWED, f"DELETE FROM {ALLOWED}"), *with_trigger(ALLOWED, "m")],
        HAS_FLAG,
        False,
    ),
    "values replaced": ([*replaced(VALUES, PAYPAL), *with_trigger(VALUES, "k")], GATEWAY, "paypal"),
}


@pytest.mark.parametrize(
    ("statements", "command", "result"), WITHOUT_TOKEN.values(), ids=WITHOUT_TOKEN
)
def test_change_without_a_token_is_seen_at_the_next_poll(
    statements: list[str],
    command: list[Any],
    result: object,
    shop: psycopg.Connection[object],
    polling: Worker,
) -> None:
    execute(shop, *statements)
    polling.sees(command, result, within=POLL_INTERVAL + 1)
    assert polling.ask("mode") == "live"
    # Later changes arrive by notification again.
    execute(shop, f"UPDATE {VALUES} SET value = '1'")
    polling.sees(GATEWAY, 1, within=POLL_INTERVAL)


# tests/database/sql/test_trigger_health.py has the other states of a trigger.
@pytest.mark.parametrize(
    "statements",
    [disabled(VALUES), replaced(VALUES, "SELECT"), [f"ALTER TABLE {VALUES} ENABLE TRIGGER ALL"]],
    ids=["disabled on one table", "table replaced", "as pg_restore --disable-triggers leaves them"],
)
def test_worker_without_a_trigger_loads_at_every_poll_and_reports_it(
    statements: list[str], shop: psycopg.Connection[object], polling: Worker
) -> None:
    execute(shop, *statements, PAYPAL)
    polling.sees(GATEWAY, "paypal", within=POLL_INTERVAL + 1)
    polling.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    assert "trigger" in polling.ask("status")["mode_reason"]
    for number in range(3):
        execute(shop, f"UPDATE {VALUES} SET value = '{number}'")
        polling.sees(GATEWAY, number, within=POLL_INTERVAL + 1)


@pytest.mark.timeout(120)
def test_worker_without_a_trigger_loads_allowed_users_each_minute(
    shop: psycopg.Connection[object], polling: Worker
) -> None:
    execute(shop, *disabled(*TABLES))
    polling.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    execute(shop, f"DELETE FROM {ALLOWED}")
    # A minute plus 10 % jitter.
    polling.sees(HAS_FLAG, False, within=66 + POLL_INTERVAL + 1)


def test_worker_with_restored_triggers_is_live_again(
    shop: psycopg.Connection[object], polling: Worker
) -> None:
    execute(shop, *disabled(*TABLES))
    polling.sees(["mode"], "reload", within=POLL_INTERVAL + 1)
    execute(shop, f"DELETE FROM {ALLOWED}", *without_triggers()[3:])
    polling.sees(HAS_FLAG, False, within=POLL_INTERVAL + 1)
    polling.sees(["mode"], "live", within=POLL_INTERVAL + 1)
    assert polling.ask("status")["mode_reason"] is None


def test_poll_is_not_delayed_by_a_stream_of_notifications(
    database: str, shop: psycopg.Connection[object]
) -> None:
    with Worker(database, POLL_INTERVAL=1) as worker:
        assert worker.ask(*HAS_FLAG) is True
        execute(shop, f"ALTER TABLE {FLAGS} DISABLE TRIGGER ALL", OFF)
        for number in range(30):
            execute(shop, f"UPDATE {VALUES} SET value = '{number}'")
            worker.ask("until", GATEWAY, number, 0.1)
            if worker.ask(*HAS_FLAG) is False:
                return
            worker.ask("until", GATEWAY, None, 0.1)
    pytest.fail("notifications keep the worker from checking the triggers")
