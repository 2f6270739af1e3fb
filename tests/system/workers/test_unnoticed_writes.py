"""Writes that leave no token although every trigger exists: workers notice, and say so."""

from collections.abc import Iterator

import pytest

import flagstaff
from flagstaff.exceptions import PropagationError
from tests.support.fixtures import Query
from tests.support.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]
INSERT_OLD = "INSERT INTO archived (id, key, enabled, rollout_percent) VALUES (9, 'old', true, 100)"
HEIR = "CREATE TABLE archived () INHERITS (flagstaff_featureflag)"
TRIGGERS_OF_HEIR = """
    CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON archived
    FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1('f');
    ALTER TABLE archived ENABLE ALWAYS TRIGGER flagstaff_token_v1
"""
NO_TOKENS = """
    CREATE OR REPLACE FUNCTION {function} {result}
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'BEGIN RETURN NULL; END'
"""
TOKEN = NO_TOKENS.format(function="flagstaff_token_v1()", result="RETURNS trigger")
WRITE_TOKEN = NO_TOKENS.format(
    function='flagstaff_write_token_v1(of_relation "char", of_pks text[])', result="RETURNS bigint"
)
UPDATE = "flagstaff_token_update_v1"
# How a trigger is altered, and the role of a session in which it then does not fire.
# tests/database/sql/test_trigger_health.py has the other triggers.
ALTERED_TRIGGERS = [
    (f"DISABLE TRIGGER {UPDATE}", "origin"),
    (f"ENABLE TRIGGER {UPDATE}", "replica"),
    (f"ENABLE REPLICA TRIGGER {UPDATE}", "origin"),
]
NOT_ALWAYS = "a table has no token trigger, or it is not ENABLE ALWAYS"
NO_TRIGGER = "a token trigger is missing or disabled"
DISABLE = "UPDATE flagstaff_featureflag SET enabled = false"


def propagation() -> tuple[bool, int, str]:
    """Whether all workers have the change, how many have it, and an error. Runs in the worker."""
    try:
        propagated = flagstaff.wait_for_workers(2)
    except PropagationError as error:
        return False, 0, str(error).partition(",")[0]
    return propagated.complete, propagated.applied, ""


@pytest.fixture
def polling(database: str) -> Iterator[Worker]:
    """A worker that has loaded the database and polls often."""
    with Worker(database, POLL_INTERVAL=0.2).loaded() as worker:
        yield worker


def test_row_in_an_inheriting_table_is_seen_by_the_poll(polling: Worker, query: Query) -> None:
    query(HEIR)
    query(INSERT_OLD)
    polling.sees(["flag_enabled", "old"], True, within=5)
    polling.sees(["mode"], "reload", within=5)
    assert (
        polling.ask("field", "mode_reason")
        == "a table has no token trigger, or it is not ENABLE ALWAYS: archived"
    )
    assert polling.call(propagation) == [False, 0, NO_TRIGGER]


@pytest.mark.parametrize(("altered", "role"), ALTERED_TRIGGERS)
def test_change_that_a_single_trigger_would_report_is_seen_by_the_poll(
    altered: str, role: str, polling: Worker, query: Query
) -> None:
    expected = f"{NOT_ALWAYS}: flagstaff_featureflag"
    query(f"ALTER TABLE flagstaff_featureflag {altered}")
    polling.sees(["mode"], "reload", within=5)
    assert polling.ask("field", "mode_reason") == expected
    assert polling.call(propagation) == [False, 0, NO_TRIGGER]
    query(f"SET session_replication_role = {role}; {DISABLE}")
    polling.sees(NEW_CHECKOUT, False, within=5)
    query(f"ALTER TABLE flagstaff_featureflag ENABLE ALWAYS TRIGGER {UPDATE}")
    polling.sees(["mode"], "live", within=5)
    query(f"DROP TRIGGER {UPDATE} ON flagstaff_featureflag")
    polling.sees(["mode"], "reload", within=5)
    assert polling.ask("field", "mode_reason") == expected


def test_inheriting_table_with_a_token_trigger_keeps_the_worker_live(
    polling: Worker, query: Query
) -> None:
    query(HEIR + "; " + TRIGGERS_OF_HEIR)
    query(INSERT_OLD)
    polling.sees(["flag_enabled", "old"], True, within=5)
    assert polling.ask("mode") == "live"
    assert polling.call(propagation) == [True, 1, ""]


@pytest.mark.parametrize(
    ("replacement", "function"), [(TOKEN, "token"), (WRITE_TOKEN, "write_token")]
)
def test_change_under_a_replaced_trigger_function_is_seen_by_the_poll(
    replacement: str, function: str, polling: Worker, query: Query
) -> None:
    [original] = query(
        f"SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'flagstaff_{function}_v1'"
    )
    query(replacement)
    query(DISABLE)
    polling.sees(NEW_CHECKOUT, False, within=5)
    polling.sees(["mode"], "reload", within=5)
    expected = f"a function of the token triggers was replaced: flagstaff_{function}_v1"
    assert polling.ask("field", "mode_reason") == expected
    query(original)
    polling.sees(["mode"], "live", within=5)


def test_replaced_trigger_function_makes_a_wait_incomplete(worker: Worker, query: Query) -> None:
    query(TOKEN)
    assert worker.call(propagation) == [False, 0, NO_TRIGGER]
