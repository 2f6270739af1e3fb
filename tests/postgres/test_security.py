"""What somebody else on the same server, and who reads logs, must not get."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

import flagstaff
from flagstaff._tables.names import fill
from flagstaff.exceptions import RefreshError
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.admin_pages import VALUES
from tests.conftest import ROOT, RunIsolated
from tests.postgres.conftest import Query
from tests.terminals import flags
from tests.workers import Worker
from tools.postgres import Postgres

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
ALICE = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email,
    is_superuser, is_staff, is_active, date_joined)
VALUES (1, 'alice', '', '', '', 'alice@example.com', false, false, true, now());
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
SELECT id, 1 FROM flagstaff_featureflag
"""

# What a name without its schema means is looked for along the search path, and what fits the
# arguments better than PostgreSQL's own wins (CVE-2018-1058). Each of these would fit a call of
# ours better, in a load, in a column's default or in a trigger.
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
    """Functions, aggregates and operators of somebody else, which say when they are called."""
    alarm = f"LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called in {schema}'; END $$;"
    made = [
        f"CREATE FUNCTION {schema}.collect(state text, item anyelement) RETURNS text {alarm}",
        f"CREATE FUNCTION {schema}.compare(one name, other name) RETURNS bool {alarm}",
        f"CREATE FUNCTION {schema}.compare(one oid, other regclass) RETURNS bool {alarm}",
    ]
    made += [f"CREATE FUNCTION {schema}.{function} RETURNS text {alarm}" for function in FUNCTIONS]
    for name, argument in AGGREGATES.items():
        folded = f"(SFUNC = {schema}.collect, STYPE = text)"
        made.append(f"CREATE AGGREGATE {schema}.{name}({argument}) {folded};")
    for name, arguments in OPERATORS.items():
        sides = f"FUNCTION = {schema}.compare, LEFTARG = {arguments}"
        made.append(f"CREATE OPERATOR {schema}.{name} ({sides});")
    return "".join(made)


# Others on the same server.


def test_functions_of_others_are_not_called_by_a_load(database: str, query: Query) -> None:
    query(ALICE)
    query(traps("public"))
    with Worker(database, POLL_INTERVAL=0.1) as worker:
        assert worker.ask("ready", 10) is True
        assert worker.ask(*NEW_CHECKOUT, 1) is True
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(NEW_CHECKOUT, True, within=3)
        worker.ask("refresh")
        status = worker.ask("status")
        assert (status["mode"], status["failures"]) == ("live", 0)


def test_functions_of_others_are_not_bound_by_a_migration(empty_database: str) -> None:
    surroundings = {"DATABASE_URL": empty_database, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with psycopg.connect(empty_database, autocommit=True) as session:
        session.execute(traps("public").encode())
        command = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
        subprocess.run(command, cwd=ROOT, env=os.environ | surroundings, check=True)
        session.execute("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
        session.execute("DELETE FROM flagstaff_featureflag")
        found = session.execute(
            "SELECT (SELECT count(*) FROM flagstaff_token), count(*) FROM flagstaff_change"
        )
        assert found.fetchone() == (2, 2)


def test_tables_and_functions_of_a_writer_do_not_lead_triggers_astray(database: str) -> None:
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
    """How many rows each has. The star is counted by PostgreSQL alone."""
    asked = [f"SELECT pg_catalog.count(*) FROM {schema}.{table}" for table in tables]
    return [session.execute(one.encode()).fetchall()[0][0] for one in asked]


def test_name_is_never_read_as_a_template() -> None:
    assert fill("{flag_table}.{flag_key}", {"flag_table": "{flag_key}", "flag_key": '"a"'}) == (
        '{flag_key}."a"'
    )


# Who reads logs, errors and the list of sessions.


def what_is_said_of_a_failure() -> list[str]:
    """Every text that a failed refresh gives a worker, down to its last cause."""
    said = [repr(flagstaff.status())]
    try:
        flagstaff.refresh(1)
    except RefreshError as error:
        cause: BaseException | None = error
        while cause is not None:
            said += [str(cause), repr(cause), repr(cause.args)]
            cause = cause.__cause__ or cause.__context__
    return said


REFUSED = "the log-in was refused"


def test_refused_log_in_says_neither_who_nor_where_nor_with_what(
    server: Postgres, database: str
) -> None:
    with Worker(f"{database} user=mallory password=hunter2", STARTUP_TIMEOUT=0.3) as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["failed", 1], True, within=3)
        said = worker.ask("call", f"{__name__}.what_is_said_of_a_failure")
        said += [message for _level, message in worker.ask("logged")]
    assert REFUSED in "".join(said)
    for text in said:
        for secret in ("hunter2", "mallory", "127.0.0.1", str(server.port)):
            assert secret not in text


def test_error_of_the_server_is_told_without_what_it_quotes(database: str, query: Query) -> None:
    # The conversion fails, and the server's message has the text that it failed on.
    query(
        "ALTER TABLE flagstaff_featureflag DROP CONSTRAINT flagstaff_rollout_percent_range,"
        " DROP CONSTRAINT flagstaff_featureflag_rollout_percent_check,"
        " ALTER rollout_percent DROP DEFAULT, ALTER rollout_percent TYPE text USING 'hunter2'"
    )
    with Worker(database, STARTUP_TIMEOUT=0.3) as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["failed", 1], True, within=3)
        said = worker.ask("call", f"{__name__}.what_is_said_of_a_failure")
    assert "SQLSTATE" in said[0]
    assert not [text for text in said if "hunter2" in text]


def test_sessions_of_a_worker_show_no_data(database: str, query: Query) -> None:
    query(ALICE)
    with Worker(f"{database} password=hunter2") as worker:
        assert worker.ask("ready", 10) is True
        worker.ask(*NEW_CHECKOUT, 1)
        worker.ask("refresh")
        [shown] = query(
            "SELECT string_agg(application_name || query, ' ') FROM pg_stat_activity"
            " WHERE application_name LIKE 'fs1 %' OR application_name LIKE 'flagstaff%'"
        )
    assert shown
    for secret in ("hunter2", "alice", "new_checkout", "stripe"):
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
    # As reports of errors do it, by the repr of each variable; the first frame is the script's.
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack[1:]
    print(len(frames) > 2, any("hunter2" in str(frame.locals) for frame in frames))
"""


def test_option_that_is_not_understood_is_an_error_and_not_less_protection(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(UNKNOWN_OPTION, DJANGO_SETTINGS_MODULE="tests.settings") == (
        "ConfigurationError connect: the connection parameters cannot be used: "
        "require_auth is not supported\nTrue False\n"
    )


# People.


@pytest.mark.django_db
def test_history_knows_users_by_their_primary_keys_alone() -> None:
    alice = User.objects.create(username="alice", email="alice@example.com")
    flag = FeatureFlag.objects.create(key="new_checkout")
    with flagstaff.acting_as(alice):
        flag.allowed_users.add(alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(c)::text FROM flagstaff_change AS c")
        told = "".join(text for (text,) in cursor.fetchall())
    assert Change.objects.latest("id").new == [alice.pk]
    assert "alice" not in told


@pytest.fixture
def secret(db: None) -> KeyValueStore:
    return KeyValueStore.objects.create(key="mail_password", value="hunter2", secret=True)


def test_secret_is_in_no_log_of_the_admin(secret: KeyValueStore, admin_client: Client) -> None:
    page = f"{VALUES}{secret.pk}/change/"
    form = {"key": "mail_password", "value": '"hunter3"', "description": "", "secret": "on"}
    assert admin_client.post(page, form).status_code == 302
    secret.refresh_from_db()
    assert secret.value == "hunter3"
    assert "hunter" not in LogEntry.objects.get().change_message
    for address_of in (VALUES, f"{VALUES}{secret.pk}/history/", f"{VALUES}{secret.pk}/delete/"):
        assert b"hunter" not in admin_client.get(address_of).content


def test_secret_that_is_typed_wrongly_is_not_repeated(
    secret: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the log of a deploy, which reads it from a file and forgets the quotes.
    told = flags("value", "set", "mail_password", "hunter3")
    assert told.status == 2
    assert "hunter" not in told.out + told.err


def test_secret_is_in_no_list(secret: KeyValueStore) -> None:
    for arguments in (["value", "list"], ["value", "list", "--json"]):
        assert "hunter" not in flags(*arguments).out
