"""The roles of the documentation have the rights that they need, and no more."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flagstaff._tables.database import fill
from flagstaff._tables.database import names as table_names
from flagstaff._tables.database import sql as package_sql
from tests.support.fixtures import Query
from tests.support.pages import DOCS, code_of
from tests.support.sql import insert_users
from tests.support.workers import NEW_CHECKOUT, Worker

# Roles are global to the server, so each test has its own.
_numbers = count(1)


PAGE = "how-to/database-rights.md"
ROLES = ("flagstaff_reader", "flagstaff_engine", "web")


@pytest.fixture
def names() -> dict[str, str]:
    """The names that the roles of the page have in this test."""
    number = next(_numbers)
    return {role: f"{role}_{number}" for role in ROLES}


@pytest.fixture
def name(names: dict[str, str]) -> str:
    return names["flagstaff_reader"]


@pytest.fixture
def urls(database: str, names: dict[str, str]) -> dict[str, str]:
    """The URLs of the database for the roles, which the SQL of the page creates."""
    shop = f'DATABASE "{conninfo_to_dict(database)["dbname"]}"'
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"CREATE ROLE {names['web']} LOGIN".encode())
        for statements in code_of(PAGE, "sql"):
            script = statements.replace("DATABASE shop", shop)
            for role in ROLES:
                script = re.sub(rf"\b{role}\b", names[role], script)
            session.execute(script.encode())
    return {role: make_conninfo(database, user=name) for role, name in names.items()}


@pytest.fixture
def reader(urls: dict[str, str]) -> str:
    return urls["flagstaff_reader"]


@pytest.fixture
def session(reader: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(reader, autocommit=True) as session:
        yield session


def test_role_is_sufficient_for_an_engine(reader: str, query: Query) -> None:
    query(insert_users(1, 1))
    with Worker(reader).loaded() as worker:
        worker.sees(["mode"], "live", within=3)
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        worker.sees(["get_value", "gateway"], "paypal", within=3)
        query(
            "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)"
            " SELECT id, 1 FROM flagstaff_featureflag"
        )
        worker.sees([*NEW_CHECKOUT, 1], True, within=3)
        worker.ask("refresh")
        status = worker.ask("status")
        assert (status["failures"], status["problems"]) == (0, [])
        assert query("SELECT count(*) FROM flagstaff_worker WHERE pid = %s", worker.pid) == (1,)


FORBIDDEN = [
    "INSERT INTO flagstaff_featureflag (key) VALUES ('a')",
    "UPDATE flagstaff_featureflag SET enabled = true",
    "DELETE FROM flagstaff_featureflag",
    "TRUNCATE flagstaff_featureflag_allowed_users",
    "UPDATE flagstaff_keyvaluestore SET value = '1'",
    "INSERT INTO flagstaff_token (relation) VALUES ('f')",
    "SELECT * FROM flagstaff_change",
    "INSERT INTO flagstaff_worker SELECT FROM flagstaff_token",
    "SELECT * FROM auth_user",
    "SELECT * FROM django_session",
    "SELECT flagstaff_barrier_v1()",
    "SELECT flagstaff_write_token_v1('f', NULL)",
    "SELECT pg_read_file('PG_VERSION')",
    "DO $$ BEGIN LOCK TABLE flagstaff_featureflag; END $$",
    "ALTER TABLE flagstaff_featureflag DISABLE TRIGGER ALL",
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (id int)",
    "CREATE ROLE another",
    "COPY flagstaff_featureflag TO PROGRAM 'cat'",
]


LIMITS = {
    "statement_timeout": "10s",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "10s",
    "search_path": "public",
}


def test_role_has_limits_and_no_other_privileges(
    session: psycopg.Connection[Any], name: str
) -> None:
    for setting, value in LIMITS.items():
        shown = session.execute(sql.SQL("SHOW {}").format(sql.Identifier(setting))).fetchone()
        assert shown == (value,), setting
    limit = session.execute(
        "SELECT rolconnlimit, rolinherit FROM pg_roles WHERE rolname = %s", [name]
    )
    assert limit.fetchone() == (200, False)
    allowed = []
    for statement in FORBIDDEN:
        try:
            session.execute(statement.encode())
        except errors.InsufficientPrivilege:
            continue
        allowed.append(statement)
    assert allowed == []


def test_schema_with_the_name_of_the_role_does_not_hide_the_tables(
    reader: str, name: str, query: Query
) -> None:
    query(f"CREATE SCHEMA {name}")
    query(f"CREATE TABLE {name}.flagstaff_featureflag AS TABLE flagstaff_featureflag")
    query(f"UPDATE {name}.flagstaff_featureflag SET rollout_percent = 100")
    query(f"GRANT USAGE ON SCHEMA {name} TO PUBLIC")
    query(f"GRANT SELECT ON {name}.flagstaff_featureflag TO PUBLIC")
    with Worker(reader).loaded() as worker:
        assert worker.ask(*NEW_CHECKOUT) is False


def test_limit_of_connections_is_changed_as_in_the_page(
    reader: str, name: str, query: Query
) -> None:
    page = (DOCS / "operations.md").read_text()
    [statement] = re.findall(r"^\$ psql shop --command '(ALTER ROLE .+)'$", page, re.MULTILINE)
    query(statement.replace("flagstaff_reader", name))
    assert query("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", name) == (300,)


@pytest.mark.parametrize("file", ["flush_measurements_v1", "flush_exposures_v1"])
def test_role_that_measures_may_write_each_report(file: str, urls: dict[str, str]) -> None:
    text = package_sql(file).replace("{accepted}", package_sql("accept_flush_v1"))
    with psycopg.connect(urls["flagstaff_engine"], autocommit=True) as session:
        statement = fill(text, table_names(connection))
        session.execute(f"PREPARE report AS {statement}".encode())
        nulls = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", text))))
        # The server checks the rights before it shows the plan.
        assert session.execute(f"EXPLAIN EXECUTE report ({nulls})".encode()).fetchall()
        for table in ("flagstaff_featureflag", "flagstaff_change"):
            with pytest.raises(errors.InsufficientPrivilege):
                session.execute(f"UPDATE {table} SET key = key".encode())


def test_role_that_measures_is_sufficient_for_an_engine(urls: dict[str, str], query: Query) -> None:
    with Worker(urls["flagstaff_engine"], USAGE_INTERVAL=1).loaded() as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["field", "usage_problem"], None, within=3)
        assert (worker.ask("status")["failures"], worker.ask("status")["problems"]) == (0, [])
    assert query("SELECT count(*) > 0 FROM flagstaff_usage") == (True,)


def test_role_of_django_writes_flags_but_not_the_history(
    urls: dict[str, str], query: Query
) -> None:
    with psycopg.connect(urls["web"], autocommit=True) as session:
        session.execute("UPDATE flagstaff_featureflag SET enabled = NOT enabled")
        assert session.execute("SELECT session_user FROM flagstaff_change").fetchall()
        session.execute("SELECT flagstaff_barrier_v1()")
        for statement in ("DELETE FROM flagstaff_change", "UPDATE flagstaff_change SET key = ''"):
            with pytest.raises(errors.InsufficientPrivilege):
                session.execute(statement.encode())
