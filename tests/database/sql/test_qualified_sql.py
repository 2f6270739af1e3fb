"""Every statement names the schema of its functions and operators, so none of others is called.

A schema before pg_catalog on the search path has a function and an operator with each name and each
type of argument that PostgreSQL has. The role that plans the statements may not execute them, so
planning a statement that selects one of them is an error.
"""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import errors

from flagstaff._tables.database import fill, names, sql
from tests.support.package_sql import PACKAGE, statements

# Roles are global to the server.
_numbers = count(1)

CLONES = """
CREATE SCHEMA clones;
SET LOCAL check_function_bodies = off;
DO $do$
DECLARE
    body text := 'LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''called''''; END''';
    f record;
    o record;
BEGIN
    FOR f IN SELECT oid, proname, oidvectortypes(proargtypes) AS arguments,
            CASE WHEN proretset THEN 'SETOF ' ELSE '' END || prorettype::regtype AS result
        FROM pg_proc AS p WHERE pronamespace = 'pg_catalog'::regnamespace AND provariadic = 0
            AND proname = ANY (%s) AND prorettype <> 'internal'::regtype
            AND NOT proargtypes::oid[] && ARRAY['"any"'::regtype, 'internal'::regtype]::oid[]
    LOOP
        EXECUTE format('CREATE FUNCTION clones.%%I(%%s) RETURNS %%s %%s',
            f.proname, f.arguments, f.result, body);
    END LOOP;
    FOR o IN SELECT oid, oprname, oprresult::regtype AS result,
            nullif(oprleft, 0)::regtype AS l, nullif(oprright, 0)::regtype AS r
        FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprresult <> 0
    LOOP
        EXECUTE format('CREATE FUNCTION clones.operator_%%s(%%s) RETURNS %%s %%s',
            o.oid, concat_ws(', ', o.l, o.r), o.result, body);
        EXECUTE format('CREATE OPERATOR clones.%%s (FUNCTION = clones.operator_%%s, %%s)',
            o.oprname, o.oid, concat_ws(', ', 'LEFTARG = ' || o.l, 'RIGHTARG = ' || o.r));
    END LOOP;
END
$do$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA clones FROM PUBLIC;
"""
# The types of parameters where PostgreSQL cannot infer them; the engine states them too.
TYPES = {
    "flush_usage_v1": "text, text, text, int8, float8, float8, int8, bool, text, "
    "float8[], text[], text[], int8[], float8[]",
    "identify_v1": "text, text[], text[]",
    "load_groups_v1": "text[]",
    "load_some_allowed_users_v1": "text[]",
    "load_some_groups_v1": "text[], text[]",
    "new_tokens_v1": "text",
    "read_point_v1": "text[], text[]",
    "subscription_v1": "text, text[], text",
}


@pytest.fixture(scope="module")
def hostile_session(
    module_postgres_server: Any, migrated: str
) -> Iterator[psycopg.Connection[Any]]:
    """A session whose search path begins with functions that it may not execute."""
    role, database = f"planner_{next(_numbers)}", f"hostile_{next(_numbers)}"
    url = module_postgres_server.url
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {database} TEMPLATE {migrated}".encode())
        session.execute(f"CREATE ROLE {role} LOGIN".encode())
    with psycopg.connect(url, dbname=database) as owner:
        words = sorted({word for _, text in statements() for word in re.findall(r"\w+", text)})
        owner.execute(psycopg.ClientCursor(owner).mogrify(CLONES, [words]).encode())
        owner.execute(f"GRANT USAGE ON SCHEMA clones TO {role}".encode())
        owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}".encode())
        owner.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}".encode())
    with psycopg.connect(url, dbname=database, user=role) as session:
        session.execute("SET search_path = clones, public, pg_catalog")
        session.execute("SET plan_cache_mode = force_generic_plan")
        session.commit()
        yield session


def plan(session: psycopg.Connection[Any], template: str, types: str = "") -> None:
    """Plans a statement, and checks the rights on everything that it would call."""
    quoted = names(connection)
    quoted |= {"schema": "public", "table": quoted["flag_table"], "pk": '"id"'}
    quoted |= {"equals": "OPERATOR(pg_catalog.=)"}
    quoted |= {"restriction": ""}
    quoted |= {"assignments": "key = new.key::varchar", "columns": '"id", key', "pk_type": "bigint"}
    quoted |= {"rows": "(%s, %s)", "number": "0", "query": "TABLE flagstaff_token"}
    read_point = sql("read_point_v1").replace("$2", "$3").replace("$1", "$3")
    quoted |= {"catalog": f"(SELECT catalog FROM ({read_point}) AS it)"}
    quoted |= {"accepted": fill(sql("accept_flush_v1"), quoted)}
    numbers = count(1)
    # Of a template for Django's Func.
    template = template.replace("%(expressions)s", "'f'::text, '{}'::jsonb")
    text = re.sub(r"%(\(\w+\))?s", lambda _: f"${next(numbers)}", fill(template, quoted))
    text = text.replace("%%", "%")
    parameters = len(set(re.findall(r"\$\d+", text)))
    values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    typed = f"({types})" if types else ""
    try:
        session.execute(f"PREPARE planned {typed} AS {text}".encode())
        session.execute(f"EXPLAIN EXECUTE planned{values}".encode())
        session.execute("DEALLOCATE planned")
    finally:
        session.rollback()
        session.execute("DEALLOCATE ALL")


@pytest.mark.one_in(4)
def test_no_statement_calls_a_function_of_another_role(
    hostile_session: psycopg.Connection[Any], subtests: pytest.Subtests
) -> None:
    for name, text in statements():
        with subtests.test(name):
            plan(hostile_session, text, TYPES.get(name, ""))


@pytest.mark.parametrize(
    "unqualified",
    [
        "SELECT max(id) FROM flagstaff_token",
        "SELECT to_jsonb(t) FROM flagstaff_token AS t",
        "SELECT FROM flagstaff_token WHERE id = 1",
        "SELECT FROM flagstaff_token WHERE id IN (1, 2)",
        "SELECT FROM flagstaff_change WHERE key LIKE 'a'",
        "SELECT nullif(key, '') FROM flagstaff_change",
        "SELECT FROM flagstaff_change WHERE old IS DISTINCT FROM new",
    ],
)
def test_unqualified_statement_is_detected(
    hostile_session: psycopg.Connection[Any], unqualified: str
) -> None:
    # Permission denied, or "max is not an aggregate function".
    with pytest.raises((errors.InsufficientPrivilege, errors.WrongObjectType)):
        plan(hostile_session, unqualified)


def test_functions_pin_their_search_path_and_type_their_arguments() -> None:
    for file in (PACKAGE / "sql").glob("*.sql"):
        for function in re.findall(
            r"CREATE OR REPLACE FUNCTION.*?\$function\$;", file.read_text(), re.DOTALL
        ):
            head, _, body = function.partition("AS $function$")
            assert "SET search_path = pg_catalog, pg_temp" in head
            for arguments in re.findall(r"\{schema\}\.\w+\(([^()]*)\)", body):
                assert not re.search(r"'(?!::)\s*(?:,|$)", arguments), (file.name, arguments)
