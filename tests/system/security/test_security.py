"""Protection from other users of the server, and of data in logs and errors."""

from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User

import flagstaff
from flagstaff.exceptions import RefreshError
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.conftest import RunIsolated
from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.sql import insert_users, rows
from tests.support.terminals import flags
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.postgres import Postgres

ALLOW = insert_users(1, 1) + (
    "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
    "SELECT id, 1 FROM flagstaff_featureflag"
)

# A name without a schema is resolved by the search path: a function there is called if it matches
# the arguments better than PostgreSQL's own (CVE-2018-1058). Each of these would match a call in a
# load, in a column's default or in a trigger.
FUNCTIONS = [
    "concat_ws(text, bigint, numeric, bigint, numeric)",
    "concat_ws(text, oid, text, text)",
    "concat_ws(text, oid, xid)",
    "array_to_string(oid[], text)",
    "ceil(integer)",
    "hashtextextended(text, integer)",
    "format(text, name, name)",
    "encode(bytea, text)",
    "pg_notify(text, text)",
    "octet_length(text)",
    "clock_timestamp()",
]
AGGREGATES = {"array_agg": "bigint", "count": "oid"}
OPERATORS = {"~~": "name, RIGHTARG = name", "=": "oid, RIGHTARG = regclass"}


def traps(schema: str) -> str:
    """Functions, aggregates and operators of another user, which raise when they are called."""
    alarm = f"LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called in {schema}'; END $$;"
    statements = [
        f"CREATE FUNCTION {schema}.collect(state text, item anyelement) RETURNS text {alarm}",
        f"CREATE FUNCTION {schema}.compare(one name, other name) RETURNS bool {alarm}",
        f"CREATE FUNCTION {schema}.compare(one oid, other regclass) RETURNS bool {alarm}",
    ]
    statements += [
        f"CREATE FUNCTION {schema}.{function} RETURNS text {alarm}" for function in FUNCTIONS
    ]
    for name, argument in AGGREGATES.items():
        folded = f"(SFUNC = {schema}.collect, STYPE = text)"
        statements.append(f"CREATE AGGREGATE {schema}.{name}({argument}) {folded};")
    for name, arguments in OPERATORS.items():
        sides = f"FUNCTION = {schema}.compare, LEFTARG = {arguments}"
        statements.append(f"CREATE OPERATOR {schema}.{name} ({sides});")
    return "".join(statements)


# Other users of the same server.


def test_load_does_not_call_functions_of_others(database: str, query: Query) -> None:
    query(ALLOW)
    query(traps("public"))
    with Worker(database, POLL_INTERVAL=0.1).loaded() as worker:
        assert worker.ask(*NEW_CHECKOUT, 1) is True
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(NEW_CHECKOUT, True, within=3)
        worker.ask("refresh")
        status = worker.ask("status")
        assert (status["mode"], status["failures"]) == ("live", 0)


def test_migration_does_not_use_functions_of_others(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as session:
        session.execute(traps("public").encode())
        run_python(empty_database, "-m", "django", "migrate", "--verbosity=0")
        session.execute("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
        session.execute("DELETE FROM flagstaff_featureflag")
        rows = session.execute(
            "SELECT (SELECT count(*) FROM flagstaff_token), count(*) FROM flagstaff_change"
        )
        assert rows.fetchone() == (2, 2)


def test_triggers_ignore_tables_and_functions_of_the_writer(database: str) -> None:
    own = ["flagstaff_token", "flagstaff_change", "flagstaff_featureflag"]
    with psycopg.connect(database, autocommit=True) as mallory:
        mallory.execute(b"CREATE SCHEMA mallory;" + traps("mallory").encode())
        for name in own:
            mallory.execute(f"CREATE TEMP TABLE {name} (LIKE public.{name})".encode())
            mallory.execute(f"CREATE TABLE mallory.{name} (LIKE public.{name})".encode())
        mallory.execute("SET search_path = pg_temp, mallory, pg_catalog")
        before = _counts(mallory, "public", own)
        mallory.execute("UPDATE public.flagstaff_featureflag SET enabled = false")
        assert _counts(mallory, "public", own) == [before[0] + 1, before[1] + 1, before[2]]
        assert _counts(mallory, "mallory", own) + _counts(mallory, "pg_temp", own) == [0] * 6


def _counts(session: psycopg.Connection[Any], schema: str, tables: list[str]) -> list[int]:
    """The number of rows of each table. Only PostgreSQL has count(*)."""
    queries = [f"SELECT pg_catalog.count(*) FROM {schema}.{table}" for table in tables]
    return [session.execute(query.encode()).fetchall()[0][0] for query in queries]


# Logs, errors and the list of sessions.


def texts_of_a_failure() -> list[str]:
    """All texts of a failed refresh, with those of its causes."""
    texts = [repr(flagstaff.status())]
    try:
        flagstaff.refresh(1)
    except RefreshError as error:
        cause: BaseException | None = error
        while cause is not None:
            texts += [str(cause), repr(cause), repr(cause.args)]
            cause = cause.__cause__ or cause.__context__
    return texts


REFUSED = "the log-in was refused"


def test_refused_log_in_shows_no_credentials_and_no_address(
    server: Postgres, database: str
) -> None:
    with Worker(f"{database} user=mallory password=hunter2", STARTUP_TIMEOUT=0.3) as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["failed", 1], True, within=3)
        texts = worker.call(texts_of_a_failure)
        texts += [message for _level, message in worker.ask("logged")]
    assert REFUSED in "".join(texts)
    for text in texts:
        for secret in ("hunter2", "mallory", "127.0.0.1", str(server.port)):
            assert secret not in text


def test_error_of_the_server_is_shown_without_its_message(database: str, query: Query) -> None:
    # A load fails at a row, which the message of the server quotes.
    query(
        "ALTER TABLE flagstaff_featureflag RENAME TO stored;"
        "CREATE VIEW flagstaff_featureflag AS SELECT id, key, enabled, client_side, rules,"
        " bucket_by, (key || 'hunter2')::int AS rollout_percent FROM stored"
    )
    with pytest.raises(psycopg.DataError, match="hunter2"):
        query("SELECT rollout_percent FROM flagstaff_featureflag")
    with Worker(database, STARTUP_TIMEOUT=0.3) as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["failed", 1], True, within=3)
        texts = worker.call(texts_of_a_failure)
    assert "SQLSTATE 22P02" in texts[0]
    assert not [text for text in texts if "hunter2" in text]


def test_sessions_of_a_worker_have_no_data_in_their_names(database: str, query: Query) -> None:
    query(ALLOW)
    with Worker(f"{database} password=hunter2").loaded() as worker:
        worker.ask(*NEW_CHECKOUT, 1)
        worker.ask("refresh")
        [shown] = query(
            "SELECT string_agg(application_name || query, ' ') FROM pg_stat_activity"
            " WHERE application_name LIKE 'flagstaff%'"
        )
    assert shown
    for secret in ("hunter2", "user_1", "new_checkout", "stripe"):
        assert secret not in shown


UNKNOWN_OPTION = """
import django
from django.conf import settings
settings.DATABASES["default"] |= {"PASSWORD": "hunter2", "OPTIONS": {"require_auth": "hunter2"}}
django.setup()
import traceback
from flagstaff import flag_enabled
try:
    flag_enabled("new_checkout")
except Exception as error:
    print(type(error).__name__, error)
    # Error reports show the repr of each local variable. The first frame is the script's. The
    # extension raises the error, so that no frame of Python code holds the parameters.
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack[1:]
    print(any("hunter2" in str(frame.locals) for frame in frames))
"""


def test_unsupported_security_parameter_is_an_error(run_isolated: RunIsolated) -> None:
    assert run_isolated(UNKNOWN_OPTION) == (
        "ConfigurationError connect: the connection parameters cannot be used: "
        "require_auth is not supported\nFalse\n"
    )


@pytest.mark.django_db
def test_history_stores_only_primary_keys_of_users() -> None:
    alice = User.objects.create(username="alice", email="alice@example.com")
    flag = FeatureFlag.objects.create(key="new_checkout")
    with flagstaff.acting_as(alice):
        flag.allowed_users.add(alice)
    entries = rows(
        "SELECT to_jsonb(c)::text FROM flagstaff_change AS c "
        "WHERE transaction_id = pg_current_xact_id()::text::bigint"
    )
    texts = "".join(text for (text,) in entries)
    assert Change.objects.latest("id").new == [alice.pk]
    assert "alice" not in texts


def test_invalid_secret_value_is_not_shown_in_the_error(db: None) -> None:
    KeyValueStore.objects.create(key="mail_password", value="hunter2", secret=True)
    # A deploy script passes it without JSON quotes, and logs the error.
    result = flags("value", "set", "mail_password", "hunter3")
    assert result.status == 2
    assert "hunter" not in result.out + result.err
